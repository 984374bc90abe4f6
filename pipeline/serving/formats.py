"""The formats of one route: which codec reads a record, and how its results are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from pipeline.codecs import confluent
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.codec import Codec
from pipeline.errors import Undecodable
from pipeline.records import PredictResult
from pipeline.serving.headers import CONTENT_TYPE, Header

_CONFLUENT_HINT: Final = "; if a schema registry's serialiser wrote it, set schema_registry.url"


class Formats:
    """The codecs of one route; the first is its default. Thread-safe.

    ``content_type`` is that of records which say nothing of theirs; empty: their first bytes decide.
    """

    def __init__(self, codecs: Sequence[Codec], content_type: str = "") -> None:
        self._codecs = tuple(codecs)
        self._content_type = content_type
        self._by_content_type: Final[Mapping[str, Codec]] = {codec.content_type: codec for codec in codecs}
        self._headers: Final = {codec.content_type: ((CONTENT_TYPE, codec.content_type.encode()),) for codec in codecs}
        self.default: Final = self._codecs[0]
        self.avro: Final = next((codec for codec in codecs if isinstance(codec, AvroCodec)), None)

    def pick(self, value: bytes, content_type: str) -> Codec:
        """Return the codec that a content type names, else the one whose first bytes these are; raises Undecodable."""
        content_type = content_type or self._content_type
        if content_type:
            named = self._by_content_type.get(content_type.partition(";")[0].strip().lower())
            if named is None:
                known = ", ".join(self._by_content_type)
                raise Undecodable(f"content type {content_type!r} is unknown; this route reads {known}")
            return named
        if not value:
            return self.default
        for codec in self._codecs:
            if codec.recognises(value):
                return codec
        hint = _CONFLUENT_HINT if confluent.leads(value) else ""
        raise Undecodable(f"its first bytes, {value[:10].hex() or 'none'}, belong to no known format{hint}")

    def encode(self, codec: Codec, result: PredictResult, named: str) -> tuple[bytes, Sequence[Header]]:
        """Return the bytes of a result and the headers that readers need for them.

        ``named`` is the content type that the request has named, which its result repeats.
        """
        avro = self.avro
        value, own = avro.frame_result(result) if codec is avro else (codec.encode_result(result), ())
        # The first codec's bytes tell themselves, and a content type that names the codec is repeated.
        is_told = named.startswith(codec.content_type) if named else codec is self.default
        return value, own if is_told else (*own, *self._headers[codec.content_type])

    def encode_named(self, codec: Codec, result: PredictResult) -> tuple[bytes, list[Header]]:
        """Return the same, the content type always among the headers."""
        value, own = self.encode(codec, result, codec.content_type)
        return value, [*own, *self._headers[codec.content_type]]
