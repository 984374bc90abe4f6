"""Results: from the bytes of a result to what becomes of its request, whichever codec wrote them."""

from __future__ import annotations

import logging

from pipeline.client.reply_table import Outcome
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.codec import Codec
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.errors import Undecodable

log = logging.getLogger(__name__)


class Results:
    """Decodes results, which are recognised by their first bytes. Thread-safe."""

    def __init__(self) -> None:
        self._codecs: tuple[Codec, ...] = (AvroCodec(), V2JsonCodec())

    def read(self, value: bytes, id_: str, place: str) -> tuple[str, Outcome]:
        """Return the id of a request, and its outcome; for a result that can not be decoded that is Undecodable.

        ``id_`` is what the record tells besides: a request that could not be decoded is answered without its id.
        ``place`` is where it was, for the log.
        """
        codec = next((codec for codec in self._codecs if codec.recognises(value)), self._codecs[0])
        try:
            result = codec.decode_result(value)
        except Undecodable as error:
            log.warning("%s: %s", place, error)
            return id_, error
        return result.id or id_, result
