"""Sending dead letters back: which, how fast, and up to where it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from pipeline.dead_letters.letters import DeadLetter
from pipeline.dead_letters.places import Place
from pipeline.dead_letters.sender import LetterSender
from pipeline.errors import ConnectorError

# Waits so many seconds; returns whether the replay shall stop.
Wait = Callable[[float], bool]
# Whether requests may be sent back to a topic.
IsAllowed = Callable[[str], bool]
# Gets the places up to which everything is done, one for a lane.
OnChunk = Callable[[Iterable[Place]], None]

_CHUNK: Final = 100


class Skipped(msgspec.Struct, frozen=True):
    """A dead letter that can not be sent, and why."""

    place: Place
    reason: str


def obstacle(letter: DeadLetter, to: str, is_allowed: IsAllowed) -> str:
    """Return why a letter can not be sent, or nothing. ``to`` is empty for its own topic, which must be allowed. Pure.

    Headers can be written by whoever may write to the topic, so they do not decide alone where requests go.
    """
    if letter.said.omitted_bytes is not None:
        return f"its value was left out; the request is {letter.origin}, as long as it is kept there"
    if letter.value is None:
        return "it has no value"
    if to:
        return ""
    if not letter.said.topic:
        return "its headers do not say where it came from; name a topic with --to"
    if not is_allowed(letter.said.topic):
        return f"it came from {letter.said.topic}, which is no request topic of the settings; name it with --to"
    return ""


class Replay:
    """Sends letters to the topics they came from, or all to one, at most so many a second (0: as fast as it goes).

    For one thread.
    """

    def __init__(self, sender: LetterSender, *, to: str = "", is_allowed: IsAllowed, rate_per_s: float = 0.0) -> None:
        self._sender = sender
        self._to, self._is_allowed, self._rate_per_s = to, is_allowed, rate_per_s
        self.skipped: list[Skipped] = []
        self._next: dict[int, Place] = {}

    @property
    def sent(self) -> int:
        """How many the broker has accepted."""
        return self._sender.sent

    @property
    def next_places(self) -> list[Place]:
        """Where the next replay goes on, a place for each lane: everything before is done. Current after each chunk."""
        return [self._next[lane] for lane in sorted(self._next)]

    def run(self, letters: Iterable[DeadLetter], wait: Wait, on_chunk: OnChunk) -> None:
        """Send letters until there are no more, or ``wait`` says stop.

        ``on_chunk`` gets ``next_places`` whenever the broker has accepted everything before them: every 100 letters,
        each letter where they go slowly, and at the end. Raises ConnectorError when one is refused; what was accepted
        before it is in ``next_places`` then.
        """
        done: dict[int, Place] = {}
        for count, letter in enumerate(letters, start=1):
            reason = obstacle(letter, self._to, self._is_allowed)
            if reason:
                self.skipped.append(Skipped(letter.place, reason))
            else:
                try:
                    self._sender.send(letter, self._to or letter.said.topic)
                except ConnectorError:
                    self._accept(done, on_chunk)
                    raise
            done[letter.place.lane] = letter.place.next
            if count % _CHUNK == 0 or 0 < self._rate_per_s <= _CHUNK:
                self._accept(done, on_chunk)
            if not reason and self._rate_per_s and wait(1 / self._rate_per_s):
                break
        self._accept(done, on_chunk)

    def _accept(self, done: dict[int, Place], on_chunk: OnChunk) -> None:
        self._sender.accept()
        self._next.update(done)
        on_chunk(self.next_places)
