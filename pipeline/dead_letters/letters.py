"""One dead letter, and which of them are meant. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from pipeline.codecs.codec import Codec, Limits
from pipeline.dead_letters.headers import Letter
from pipeline.dead_letters.places import EntryId, Place
from pipeline.errors import PenstockError
from pipeline.records import PredictRequest

_SERVABLE_HEADERS = ("model", "mlserver-model", "seldon-model")


class DeadLetter(msgspec.Struct, frozen=True):
    """One that was put aside. ``said`` is what its headers say; ``value`` is None where it was left out.

    ``fields`` are an entry's of Redis, as they came, names and values in turns: value, key and headers are read from
    them.
    """

    place: Place
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    said: Letter
    fields: tuple[bytes, ...] = ()

    @property
    def at_ms(self) -> int:
        """When it was put aside."""
        return self.timestamp_ms if self.said.at_ms is None else self.said.at_ms

    @property
    def origin_facts(self) -> dict[str, Any]:
        """Where the request lay in its topic or stream, as ``Place.facts``; None where the headers do not say."""
        said = self.said
        if isinstance(self.place, EntryId):
            return {"id": None if said.offset is None else f"{said.offset}-{said.partition}"}
        return {"partition": said.partition, "offset": said.offset}

    @property
    def origin(self) -> str:
        """Where the request lay."""
        said = self.said
        if not said.topic:
            return "unknown"
        if isinstance(self.place, EntryId):
            return said.topic if said.offset is None else f"{said.topic}@{self.origin_facts['id']}"
        return f"{said.topic}[{said.partition}]@{said.offset}"


class Choice(msgspec.Struct, frozen=True):
    """Which dead letters are meant: those that all of this is true of. Empty and None mean any."""

    codes: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    partition: int | None = None
    offset: int | None = None
    entry_id: EntryId | None = None
    key: bytes | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Return whether a letter is meant."""
        return (
            (not self.codes or letter.said.code in self.codes)
            and (self.since_ms is None or letter.at_ms >= self.since_ms)
            and (self.until_ms is None or letter.at_ms < self.until_ms)
            and self._is_at(letter.place)
            and (self.key is None or letter.key == self.key)
        )

    def _is_at(self, place: Place) -> bool:
        if isinstance(place, EntryId):
            return self.entry_id in (None, place)
        return self.partition in (None, place.partition) and self.offset in (None, place.offset)


def request_of(letter: DeadLetter, codecs: Sequence[Codec], content_type: str = "") -> PredictRequest | None:
    """Return the request, or None where its bytes are none that is known here.

    ``content_type`` is that of requests which say nothing of theirs; empty: their first bytes decide.
    """
    value = letter.value
    if value is None:
        return None
    named = next((text for name, text in letter.said.own if name == "content-type" and text), content_type.encode())
    wanted = named.partition(b";")[0].strip().lower()
    for codec in codecs:
        if codec.content_type.encode() == wanted or (not wanted and codec.recognises(value)):
            try:
                return codec.decode_request(value, Limits())
            except PenstockError:
                return None
    return None


def servable_of(letter: DeadLetter, codecs: Sequence[Codec], content_type: str = "") -> str:
    """Return the servable that the request names, in its body or its headers; empty where it is the route's."""
    request = request_of(letter, codecs, content_type)
    if request is not None and request.servable:
        return request.servable
    found = (value for name, value in letter.said.own if name in _SERVABLE_HEADERS and value)
    return next(found, b"").decode(errors="replace")
