"""Which record kills the workers: found without a topic of its own, by what is written beside each committed offset.

Kafka keeps a line of text with an offset that a group commits. Ours says what the owner of the partition was doing, so
that the next owner knows how the last one ended: one that leaves in good order says so, a killed one can not.

==========  ========================================================================================================
idle        nothing is in flight: the owner has left, or has taken nothing yet
working     records below ``until`` may be in flight. Found by a new owner: the last one was killed by one of them
careful     the records below ``until`` are suspects, and none of them is in flight; one of those below ``end`` has
            killed a second worker
trying      the suspects below ``end`` are in flight, perhaps with those of other partitions, and no other records are
alone       the record at the offset is in flight, and no other record of this worker is
==========  ========================================================================================================

Suspects are taken in groups, each with marks of its own that the broker has before the group is handed out, and nothing
else is in flight with it. There are about as many groups as records in each: so few marks are waited for, and a second
death leaves few suspects. Those come one at a time, and a worker that dies then has named the record: ``kills`` is the
number of its deaths, with those that made it a suspect. A suspect that is answered is none any more.

Pure bookkeeping, no Kafka; not thread-safe.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from confluent_kafka import TopicPartition

from connectors.kafka.offsets import Partition, Spans
from connectors.suspects import group_size

Place = tuple[Partition, int]

_LEAST: Final = 16
# Windows that a mark reaches ahead at most: several lie between two commits where requests come fast.
_MOST_WINDOWS: Final = 16
# Below every offset, and not above the base that is not known.
_NONE: Final = -1
_MARK: Final = re.compile(r"penstock/1 (idle|working|careful|trying|alone) (\d{1,18}) (\d{1,18}) (\d{1,9}) (\d{1,18})")


class Mark(msgspec.Struct, frozen=True):
    """What stands beside a committed offset.

    ``tries`` is how many workers have died with its record, after the first one and before this one tries it.
    """

    kind: str
    offset: int
    until: int = 0
    tries: int = 0
    end: int = 0

    def __str__(self) -> str:
        return f"penstock/1 {self.kind} {self.offset} {self.until} {self.tries} {self.end}"


def parse(offset: int, text: str | None) -> Mark:
    """Return the mark beside a committed offset; ``idle`` for text that is not ours, or not of this offset.

    Whoever resets offsets writes text of his own or none, and whoever copies ours beside another offset means nothing.
    """
    found = _MARK.fullmatch(text or "")
    if found is None or int(found[2]) != offset:
        return Mark("idle", offset)
    return Mark(found[1], offset, int(found[3]), int(found[4]), int(found[5]))


class _State:
    """One partition: suspects are below ``until``, those below ``narrow`` twice.

    ``tries`` is how many workers have died with the first of them, not counting the first death.
    ``base`` is the offset that is committed where nothing more is done, -1 until it is known. Records below ``granted``
    may be handed out by what the broker has; ``asked`` is what it was told last, ``ahead`` how much further. ``taken``
    is the end of what was handed out, ``marked`` that at the last mark, ``seen`` that of what will be handed out soon.
    ``is_clean``: what the broker was told last accuses nobody.
    """

    __slots__ = (
        "ahead",
        "asked",
        "base",
        "granted",
        "is_clean",
        "marked",
        "narrow",
        "seen",
        "taken",
        "tries",
        "until",
    )

    def __init__(self, base: int, mark: Mark, window: int) -> None:
        # What is taken between two marks, and what is in flight, is as much at most.
        self.until = min(mark.until, base + 2 * _MOST_WINDOWS * window) if mark.kind != "idle" else _NONE
        self.ahead = 0
        self.narrow = _NONE if mark.kind == "alone" else min(mark.end, self.until)
        self.tries = mark.tries + (mark.kind == "alone")
        self.base = self.taken = self.marked = self.granted = self.asked = self.seen = base
        self.is_clean = mark.kind in ("idle", "careful")

    @property
    def suspects(self) -> int:
        """How many there may be."""
        return max(0, self.until - self.base)

    def deaths_of(self, offset: int) -> int:
        """Return how many workers have died with a suspect, not counting the first death."""
        return max(self.tries if offset == self.base else 0, int(offset < self.narrow))


class Suspects:
    """Decides which records may be handed out now, and what is written beside the offsets.

    ``window`` is how many records of a partition can be in flight; 0 switches it all off. A mark of work reaches ahead
    four times what was taken since the mark before, so that the next one is there before it is needed, and at least
    ``least`` records: a low number means few suspects after a death, a high one few marks to wait for.
    """

    def __init__(self, window: int, least: int = _LEAST) -> None:
        self._window = window
        self._least = min(least, window)
        self._states: dict[Partition, _State] = {}
        self._group = 1  # how many suspects are taken together
        self._trying: set[Partition] = set()
        self._is_alone = False
        self._is_calm = True

    def assign(self, committed: Mapping[Partition, tuple[int, str | None]]) -> list[Partition]:
        """Start with partitions and what is committed of each, an offset below 0 for nothing.

        Returns those that have suspects.
        """
        if not self._window:
            return []
        for partition, (offset, text) in committed.items():
            self._states[partition] = _State(max(offset, -1), parse(offset, text), self._window)
        self._is_calm = False  # perhaps
        self._group = group_size(sum(state.suspects for state in self._states.values()))
        return [partition for partition in committed if self._states[partition].until > self._states[partition].base]

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Forget partitions."""
        for partition in partitions:
            self._states.pop(partition, None)
            self._trying.discard(partition)

    @property
    def is_calm(self) -> bool:
        """Whether there are no suspects: then every record may be taken."""
        if not self._is_calm:  # else it stays so until partitions are assigned
            self._is_calm = not self._trying and not any(state.until > state.base for state in self._states.values())
        return self._is_calm

    def kills(self, place: Place) -> int:
        """Return how many workers were killed while they had this record; 0 where that can not be told."""
        state = self._states.get(place[0])
        return state.tries + 1 if state is not None and state.tries and place[1] == state.base else 0

    def choose(self, places: Sequence[Place | None], *, is_quiet: bool) -> tuple[list[int], list[int]]:
        """Return which positions are taken now and which are held back, both in order. None is no record.

        Suspects, and what follows them in their partition, are held back until no other record is in flight
        (``is_quiet``); then some come, or one, and nothing else.
        """
        if self._trying and not is_quiet:
            return [], list(range(len(places)))
        taken: list[int] = []
        held: list[int] = []
        blocked: set[Partition] = set()
        for position, place in enumerate(places):
            if place is not None and (place[0] in blocked or self._is_suspect(place)):
                blocked.add(place[0])
                held.append(position)
            else:
                taken.append(position)
        if held and not taken and is_quiet:
            taken = self._next(places, held)
            together = set(taken)
            return taken, [position for position in held if position not in together]
        return taken, held

    def is_due(self, spans: Spans) -> bool:
        """Whether ``take`` would have something committed, where there are no suspects."""
        states = self._states
        return any(partition in states and end > states[partition].granted for partition, (_, end) in spans.items())

    def take(self, spans: Spans, ahead: Spans | None = None) -> dict[Partition, int]:
        """Note that chosen records are about to be handed out: the first offset and the end of each partition.

        Returns the offsets that must be committed before, each with its ``mark``: none, mostly. Where more than such an
        offset is done, the higher one is committed. The kills of these records are asked for before.

        ``ahead`` has the same of records that come soon: what is marked now need not be waited for then. Only where
        there are no suspects.
        """
        due: dict[Partition, int] = {}
        for partition in self._trying:  # they are done, and their marks, which the broker may have still, accuse them
            state = self._states[partition]
            due[partition], state.tries = state.base, 0
        self._trying.clear()
        for partition, (first, end) in spans.items():
            found = self._states.get(partition)
            if found is None:
                continue
            if self._is_suspect((partition, first)):
                self._trying.add(partition)
                self._is_alone = len(spans) == 1 and end == first + 1
                found.tries = found.deaths_of(first) if self._is_alone else 0
                due[partition] = found.base = first
            else:
                self._take_in_order(partition, found, first, end, due)
            found.taken = end
        for partition, (first, end) in (ahead or {}).items():
            found = self._states.get(partition)
            if found is not None:
                found.seen = end
                self._take_in_order(partition, found, first, end, due)
        return due

    def _take_in_order(
        self, partition: Partition, state: _State, first: int, end: int, due: dict[Partition, int]
    ) -> None:
        state.until = state.narrow = _NONE  # a partition is in order: none of its suspects is left
        if state.base < 0:
            state.base = state.marked = first
        if end > state.granted:
            due[partition] = state.base

    def mark(self, partition: Partition, offset: int, *, is_leaving: bool = False) -> str:
        """Return the text beside an offset that is committed now. Offsets of a partition never go back."""
        state = self._states.get(partition)
        if state is None:
            return ""
        if offset > state.base:
            state.base, state.tries = offset, 0
        state.is_clean = is_leaving
        if state.until > offset:
            if partition in self._trying and offset < state.taken and not is_leaving:
                kind = "alone" if self._is_alone else "trying"
                return str(Mark(kind, offset, state.until, state.tries, state.taken))
            return str(Mark("careful", offset, state.until, state.tries, max(0, state.narrow)))
        if is_leaving:
            return str(Mark("idle", offset))
        # One that was busy a moment ago may be again: a consumer brings now many of one partition, now of another.
        if state.taken > state.marked:
            pace = max(4 * (state.taken - state.marked), state.ahead * 3 // 4)
            state.ahead = min(pace, _MOST_WINDOWS * self._window)
        state.marked = state.taken
        state.asked = max(max(state.taken, offset) + max(state.ahead, self._least), state.seen)
        state.granted = min(state.granted, state.asked)
        return str(Mark("working", offset, state.asked))

    def marked(self, offsets: Mapping[Partition, int], *, is_leaving: bool = False) -> list[TopicPartition]:
        """Return offsets that are committed now, each with its mark."""
        return [
            TopicPartition(*key, offset, self.mark(key, offset, is_leaving=is_leaving))
            for key, offset in offsets.items()
        ]

    def have_landed(self, committed: Iterable[TopicPartition]) -> None:
        """Note that the broker has what ``marked`` returned."""
        for each in committed:
            self.accepted((each.topic, each.partition), each.offset, each.metadata)

    def accepted(self, partition: Partition, offset: int, text: str | None) -> None:
        """Note that the broker has an offset with the text beside it."""
        state, mark = self._states.get(partition), parse(offset, text)
        if state is None:
            return
        if offset >= state.taken:
            self._trying.discard(partition)
        if mark.kind == "working":
            state.granted = max(state.granted, min(mark.until, state.asked))

    def leave(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Return offsets to commit once more at the end, because what stands beside them would accuse their records."""
        states = [(partition, self._states.get(partition)) for partition in partitions]
        return {key: state.base for key, state in states if state and not state.is_clean and state.base >= 0}

    def _next(self, places: Sequence[Place | None], held: Sequence[int]) -> list[int]:
        """Return the positions of the suspects that come next: a group, or one that has to be alone."""
        found: list[int] = []
        blocked: set[Partition] = set()
        for position in held:
            place = places[position]
            assert place is not None
            partition, offset = place
            if len(found) == self._group:
                break
            if partition in blocked:
                continue
            is_named = self._is_suspect(place) and self._states[partition].deaths_of(offset) > 0
            if is_named and not found:
                return [position]
            if is_named or not self._is_suspect(place):
                blocked.add(partition)
            else:
                found.append(position)
        return found

    def _is_suspect(self, place: Place) -> bool:
        state = self._states.get(place[0])
        return state is not None and place[1] < state.until
