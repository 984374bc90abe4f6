"""One dead letter as it lies in its topic, and which of them are meant. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from pipeline.codecs.codec import Codec, Limits
from pipeline.connector import Headers
from pipeline.dead_letters.headers import Letter
from pipeline.errors import PenstockError
from pipeline.records import PredictRequest

_SERVABLE_HEADERS = ("model", "mlserver-model", "seldon-model")


class DeadLetter(msgspec.Struct, frozen=True):
    """A record of a dead-letter topic. ``said`` is what its headers say; ``value`` is None where it was left out."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    said: Letter

    @property
    def at_ms(self) -> int:
        """When it was put aside."""
        return self.timestamp_ms if self.said.at_ms is None else self.said.at_ms

    @property
    def place(self) -> str:
        """Where it lies, as ``--from-offset`` takes it."""
        return f"{self.partition}:{self.offset}"

    @property
    def origin(self) -> str:
        """Where the request lay."""
        said = self.said
        return f"{said.topic}[{said.partition}]@{said.offset}" if said.topic else "unknown"


class Choice(msgspec.Struct, frozen=True):
    """Which dead letters are meant: those that all of this is true of. Empty and None mean any."""

    codes: frozenset[str] = frozenset()
    since_ms: int | None = None
    until_ms: int | None = None
    partition: int | None = None
    offset: int | None = None
    key: bytes | None = None

    def takes(self, letter: DeadLetter) -> bool:
        """Return whether a letter is meant."""
        return (
            (not self.codes or letter.said.code in self.codes)
            and (self.since_ms is None or letter.at_ms >= self.since_ms)
            and (self.until_ms is None or letter.at_ms < self.until_ms)
            and self.partition in (None, letter.partition)
            and self.offset in (None, letter.offset)
            and (self.key is None or letter.key == self.key)
        )


def request_of(letter: DeadLetter, codecs: Sequence[Codec]) -> PredictRequest | None:
    """Return the request, or None where its bytes are none that is known here."""
    value = letter.value
    if value is None:
        return None
    content_type = next((text for name, text in letter.said.own if name == "content-type" and text), b"")
    wanted = content_type.partition(b";")[0].strip().lower()
    for codec in codecs:
        if codec.content_type.encode() == wanted or (not wanted and codec.recognises(value)):
            try:
                return codec.decode_request(value, Limits())
            except PenstockError:
                return None
    return None


def servable_of(letter: DeadLetter, codecs: Sequence[Codec]) -> str:
    """Return the servable that the request names, in its body or its headers; empty where it is the route's."""
    request = request_of(letter, codecs)
    if request is not None and request.servable:
        return request.servable
    found = (value for name, value in letter.said.own if name in _SERVABLE_HEADERS and value)
    return next(found, b"").decode(errors="replace")
