"""How a connection writes its requests and reads its results."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Final

from pipeline import plugins
from pipeline.client.address import Address
from pipeline.codecs import confluent
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.avro_framing import AvroFraming
from pipeline.codecs.codec import Codec
from pipeline.codecs.installed import load_codec, load_codecs
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.errors import InvalidSettings, PluginError, SchemaUnavailable
from pipeline.records import PredictRequest, PredictResult

if TYPE_CHECKING:
    from pipeline.client.schemas import ClientSchemas

log = logging.getLogger(__name__)

AVRO: Final = "avro"
JSON: Final = "json"
CONTENT_TYPE: Final = "content-type"
_CLUSTER_SERVING: Final = "cluster-serving"


class Wire:
    """Requests go out in any format that is installed, results are read in any: by content type, else by first bytes.

    With a schema registry, Avro in Confluent's framing too. Thread-safe. Nothing is connected before ``open``, or the
    first result whose schema is not known.
    """

    def __init__(self, address: Address) -> None:
        """Raises as ClientSchemas does."""
        self._schemas: ClientSchemas | None = None
        if address.schema_registry is not None:
            from pipeline.client.schemas import ClientSchemas  # noqa: PLC0415  # reads settings, for this alone

            self._schemas = ClientSchemas(address.schema_registry, address.request_topic)
        self._framing = AvroFraming(address.framing)
        self._avro = AvroCodec(schemas_by_name=self._schemas, requests=self._framing)
        self._codecs: dict[str, Codec] = {AVRO: self._avro, JSON: V2JsonCodec()}  # what was asked for so far

    def open(self, timeout_s: float) -> None:
        """Find the name that requests are framed with, the first time; one caller at a time. Raises ConnectorError."""
        if self._schemas is not None and not self._framing.is_known:
            self._schemas.name_requests(self._framing, timeout_s)

    def write(self, format_: str, request: PredictRequest) -> tuple[bytes, list[tuple[str, bytes]]]:
        """Return the bytes of a request and the headers that say how to read them.

        Raises NotRepresentable where the format has no form for it, PluginError where its codec can not be made.
        """
        if format_ == AVRO:
            value, named = self._avro.frame_request(request)
            return value, [(CONTENT_TYPE, self._avro.content_type.encode()), *named]
        codec = self._codecs.get(format_)
        if codec is None:
            codec = self._codecs[format_] = load_codec(format_)
        return codec.encode_request(request), [(CONTENT_TYPE, codec.content_type.encode())]

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
        if self._avro.recognises(value):
            return self._avro.decode_result(value)
        named = next((found for header, found in headers if header == CONTENT_TYPE and found), b"")
        content_type = named.partition(b";")[0].strip().lower().decode(errors="replace")
        if content_type == _CLUSTER_SERVING:
            from pipeline.codecs.cluster_serving import ClusterServingCodec  # noqa: PLC0415  # few read such results

            return ClusterServingCodec().decode_result_of(value, dict(headers))
        codec = next((it for it in self._known() if it.content_type == content_type), None) if content_type else None
        codec = codec or next((it for it in self._known() if it.recognises(value)), self._avro)
        return codec.decode_result(value)

    def _known(self) -> Iterator[Codec]:
        yield from (self._avro, self._codecs[JSON])
        yield from self._installed  # not before it is wanted

    @cached_property
    def _installed(self) -> tuple[Codec, ...]:
        try:
            return tuple(load_codecs().values())
        except PluginError as error:
            log.warning("results in the formats of plugins are not read: %s", error)
            return ()


def check_format(name: str) -> str:
    """Return the name of a format; raises InvalidSettings for one that is not installed."""
    if name not in (AVRO, JSON) and name not in (known := plugins.names(plugins.CODECS)):
        raise InvalidSettings("format", f"{name!r} is not installed; known: {', '.join(known)}")
    return name
