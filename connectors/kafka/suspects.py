"""Which record kills the workers: found without a topic of its own, by what is written beside each committed offset.

Kafka keeps a line of text with an offset that a group commits. Ours says what the owner of the partition was doing, so
that the next owner knows how the last one ended: one that leaves in good order says so, a killed one can not.

==========  ========================================================================================================
idle        nothing is in flight: the owner has left, or has taken nothing yet
working     records below ``until`` may be in flight. Found by a new owner: the last one was killed by one of them
careful     the record at the offset, and all below ``until``, are suspects; none of them is in flight
trying      the record at the offset is in flight, and no other record of this worker is
==========  ========================================================================================================

Suspects are taken one at a time, each with a mark of its own that the broker has before the record is handed out. So a
worker that dies then has named the record, and only such deaths count: ``kills`` is their number, and one for the death
that made the record a suspect. A suspect that is answered is none any more, and its neighbours were none of its kind.

Pure bookkeeping, no Kafka; not thread-safe.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from confluent_kafka import TopicPartition

from connectors.kafka.offsets import Partition

Place = tuple[Partition, int]

_LEAST: Final = 16
# Below every offset, and not above the base that is not known.
_NONE: Final = -1
_MARK: Final = re.compile(r"penstock/1 (idle|working|careful|trying) (\d{1,18}) (\d{1,18}) (\d{1,9})")


class Mark(msgspec.Struct, frozen=True):
    """What stands beside a committed offset. ``tries`` is how many workers have died while they tried its record."""

    kind: str
    offset: int
    until: int = 0
    tries: int = 0

    def __str__(self) -> str:
        return f"penstock/1 {self.kind} {self.offset} {self.until} {self.tries}"


def parse(offset: int, text: str | None) -> Mark:
    """Return the mark beside a committed offset; ``idle`` for text that is not ours, or not of this offset.

    Whoever resets offsets writes text of his own or none, and whoever copies ours beside another offset means nothing.
    """
    found = _MARK.fullmatch(text or "")
    if found is None or int(found[2]) != offset:
        return Mark("idle", offset)
    return Mark(found[1], offset, int(found[3]), int(found[4]))


class _State:
    """One partition: suspects are below ``until``; the first of them has been tried ``tries`` times.

    ``base`` is the offset that is committed where nothing more is done, -1 until it is known. Records below ``granted``
    may be handed out by what the broker has; ``asked`` is what it was told last. ``taken`` is the end of what was
    handed out, ``marked`` that at the last mark. ``is_clean``: what it was told last accuses nobody.
    """

    __slots__ = ("asked", "base", "granted", "is_clean", "marked", "taken", "tries", "until")

    def __init__(self, base: int, mark: Mark, window: int) -> None:
        # A window is all that one worker can have in flight, and twice that is the most that it may have said.
        self.until = min(mark.until, base + 2 * window) if mark.kind != "idle" else _NONE
        self.tries = mark.tries + (mark.kind == "trying")
        self.base = self.taken = self.marked = self.granted = self.asked = base
        self.is_clean = mark.kind in ("idle", "careful")


class Suspects:
    """Decides which records may be handed out now, and what is written beside the offsets.

    ``window`` is how many records of a partition can be in flight; 0 switches it all off. A mark of work reaches at
    least ``least`` records ahead: a low number means few suspects after a death, a high one few marks to wait for.
    """

    def __init__(self, window: int, least: int = _LEAST) -> None:
        self._window = window
        self._least = min(least, window)
        self._states: dict[Partition, _State] = {}
        self._trying: Partition | None = None

    def assign(self, committed: Mapping[Partition, tuple[int, str | None]]) -> list[Partition]:
        """Start with partitions and what is committed of each, an offset below 0 for nothing.

        Returns those that have suspects.
        """
        if not self._window:
            return []
        for partition, (offset, text) in committed.items():
            self._states[partition] = _State(max(offset, -1), parse(offset, text), self._window)
        return [partition for partition in committed if self._states[partition].until > self._states[partition].base]

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Forget partitions."""
        for partition in partitions:
            self._states.pop(partition, None)
            if partition == self._trying:
                self._trying = None

    @property
    def is_calm(self) -> bool:
        """Whether there are no suspects: then every record may be taken."""
        return self._trying is None and not any(state.until > state.base for state in self._states.values())

    def kills(self, place: Place) -> int:
        """Return how many workers were killed while they had this record; 0 where that can not be told."""
        state = self._states.get(place[0])
        return state.tries + 1 if state is not None and state.tries and place[1] == state.base else 0

    def choose(self, places: Sequence[Place | None], *, is_quiet: bool) -> tuple[list[int], list[int]]:
        """Return which positions are taken now and which are held back, both in order. None is no record.

        Suspects, and what follows them in their partition, are held back until no other record is in flight
        (``is_quiet``); then one comes alone.
        """
        if self._trying is not None and not is_quiet:
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
            return held[:1], held[1:]
        return taken, held

    def take(self, spans: Mapping[Partition, tuple[int, int]]) -> dict[Partition, int]:
        """Note that chosen records are about to be handed out: the first offset and the end of each partition.

        Returns the offsets that must be committed before, each with its ``mark``: none, mostly. Where more than such an
        offset is done, the higher one is committed. The kills of these records are asked for before.
        """
        due: dict[Partition, int] = {}
        if self._trying is not None:  # it is done, and its mark must not accuse it any more
            state = self._states[self._trying]
            due[self._trying], state.tries = state.base, 0
            self._trying = None
        for partition, (first, end) in spans.items():
            found = self._states.get(partition)
            if found is None:
                continue
            if self._is_suspect((partition, first)):
                self._trying = partition
                found.tries = found.tries if first == found.base else 0
                due[partition] = found.base = first
            else:
                self._take_in_order(partition, found, first, end, due)
            found.taken = end
        return due

    def _take_in_order(
        self, partition: Partition, state: _State, first: int, end: int, due: dict[Partition, int]
    ) -> None:
        state.until = _NONE  # a partition is in order: none of its suspects is left
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
            if partition == self._trying:
                self._trying = None
        state.is_clean = is_leaving
        if state.until > offset:
            kind = "trying" if partition == self._trying and not is_leaving else "careful"
            return str(Mark(kind, offset, state.until, state.tries))
        if is_leaving:
            return str(Mark("idle", offset))
        ahead = min(max(self._least, 2 * (state.taken - state.marked)), self._window)
        state.marked = state.taken
        state.asked = max(state.taken, offset) + ahead
        state.granted = min(state.granted, state.asked)
        return str(Mark("working", offset, state.asked))

    def marked(self, offsets: Mapping[Partition, int], *, is_leaving: bool = False) -> list[TopicPartition]:
        """Return offsets that are committed now, each with its mark."""
        return [
            TopicPartition(*key, offset, self.mark(key, offset, is_leaving=is_leaving))
            for key, offset in offsets.items()
        ]

    def reached(self, due: Mapping[Partition, int]) -> dict[Partition, int]:
        """Return what ``take`` or ``leave`` returned, moved on to where the partitions are now.

        For whoever has waited since: an offset of then would take back what was committed meanwhile.
        """
        return {key: max(offset, self._states[key].base) for key, offset in due.items() if key in self._states}

    def have_landed(self, committed: Iterable[TopicPartition]) -> None:
        """Note that the broker has what ``marked`` returned."""
        for each in committed:
            self.accepted((each.topic, each.partition), each.offset, each.metadata)

    def accepted(self, partition: Partition, offset: int, text: str | None) -> None:
        """Note that the broker has an offset with the text beside it."""
        state, mark = self._states.get(partition), parse(offset, text)
        if state is not None and mark.kind == "working":
            state.granted = max(state.granted, min(mark.until, state.asked))

    def leave(self, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """Return offsets to commit once more at the end, because what stands beside them would accuse their records."""
        states = [(partition, self._states.get(partition)) for partition in partitions]
        return {key: state.base for key, state in states if state and not state.is_clean and state.base >= 0}

    def _is_suspect(self, place: Place) -> bool:
        state = self._states.get(place[0])
        return state is not None and place[1] < state.until
