"""How a connection writes its requests and reads its results."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from pipeline.client.address import Address
from pipeline.codecs import confluent
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.avro_framing import AvroFraming
from pipeline.codecs.codec import Codec
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.errors import InvalidSettings, SchemaUnavailable
from pipeline.records import PredictRequest, PredictResult

if TYPE_CHECKING:
    from pipeline.client.schemas import ClientSchemas

AVRO: Final = "avro"
JSON: Final = "json"


class Wire:
    """Results are Avro or V2 JSON, by their first bytes; with a schema registry, Avro in Confluent's framing too.

    Thread-safe. Nothing is connected before ``open``, or the first result whose schema is not known.
    """

    def __init__(self, address: Address) -> None:
        """Raises as ClientSchemas does."""
        self._schemas: ClientSchemas | None = None
        if address.schema_registry is not None:
            from pipeline.client.schemas import ClientSchemas  # noqa: PLC0415  # reads settings, for this alone

            self._schemas = ClientSchemas(address.schema_registry, address.request_topic)
        self._framing = AvroFraming(address.framing)
        self._avro = AvroCodec(schemas_by_name=self._schemas, requests=self._framing)
        self._codecs: tuple[Codec, ...] = (self._avro, V2JsonCodec())

    def open(self, timeout_s: float) -> None:
        """Find the name that requests are framed with, the first time; one caller at a time. Raises ConnectorError."""
        if self._schemas is not None and not self._framing.is_known:
            self._schemas.name_requests(self._framing, timeout_s)

    def write(self, format_: str, request: PredictRequest) -> tuple[bytes, list[tuple[str, bytes]]]:
        """Return the bytes of a request and the headers that say how to read them."""
        if format_ == AVRO:
            value, named = self._avro.frame_request(request)
            return value, [("content-type", self._avro.content_type.encode()), *named]
        codec = self._codecs[1]
        return codec.encode_request(request), [("content-type", codec.content_type.encode())]

    def read(self, value: bytes, headers: Iterable[tuple[str, bytes | None]]) -> PredictResult:
        """Return the result in a record. Blocks once for each schema that the registry must be asked for.

        Raises Undecodable, and SchemaUnavailable where the registry does not answer.
        """
        headers = list(headers)
        try:
            return self._read(value, headers)
        except SchemaUnavailable as error:
            if self._schemas is not None:
                self._schemas.fetch([error.name])
        return self._read(value, headers)

    def close(self) -> None:
        """Let go of the registry."""
        if self._schemas is not None:
            self._schemas.close()

    def _read(self, value: bytes, headers: Sequence[tuple[str, bytes | None]]) -> PredictResult:
        if self._schemas is not None:
            name = next((found for header, found in headers if header == confluent.HEADER and found), None)
            if name is not None:
                return self._avro.decode_result_of(name, value)
        codec = next((codec for codec in self._codecs if codec.recognises(value)), self._avro)
        return codec.decode_result(value)


def check_format(name: str) -> str:
    """Return the name of a format; raises InvalidSettings for one that is none."""
    if name not in (AVRO, JSON):
        raise InvalidSettings("format", f"{name!r} is neither {AVRO!r} nor {JSON!r}")
    return name
