"""Results: from the bytes of a result to what becomes of its request, whichever codec wrote them."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from pipeline.client.reply_table import Outcome
from pipeline.client.wire import Wire
from pipeline.errors import SchemaUnavailable, Undecodable

log = logging.getLogger(__name__)


class Results:
    """Decodes results. Thread-safe."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire

    def read(
        self, value: bytes, id_: str, place: str, headers: Iterable[tuple[str, bytes | None]] = ()
    ) -> tuple[str, Outcome]:
        """Return the id of a request, and its outcome; for a result that can not be decoded that is Undecodable.

        SchemaUnavailable is one that may be decoded later; blocks while a schema registry is asked. ``id_`` is what the
        record tells besides: a request that could not be decoded is answered without its id. ``place`` is where it was,
        for the log.
        """
        try:
            result = self._wire.read(value, headers)
        except (Undecodable, SchemaUnavailable) as error:
            log.warning("%s: %s", place, error)
            return id_, error
        return result.id or id_, result
