"""Which offsets may be committed: pure bookkeeping, no Kafka."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping

Partition = tuple[str, int]
# The first offset of some records in order, and the offset after the last, of each partition.
Spans = Mapping[Partition, tuple[int, int]]


class Span:
    """The records of one partition that one poll brought, in order; ``end`` is the offset after the last."""

    __slots__ = ("end", "is_done")

    def __init__(self, end: int) -> None:
        self.end = end
        self.is_done = False


# What one poll took: the last of each partition.
Taken = list[tuple[Partition, Span]]


class OffsetTracker:
    """Knows, per partition, what is in flight and how far everything before is done. Not thread-safe.

    An offset is committable when its record and every record before it that was taken are done: the lowest contiguous
    offset. Spans of a partition that was revoked and came back are not mixed up with the new ones.
    """

    def __init__(self) -> None:
        self._spans: dict[Partition, deque[Span]] = {}
        self._done: dict[Partition, int] = {}
        self._taken: dict[Partition, int] = {}
        self._handed_out: dict[Partition, int] = {}

    def assign(self, partitions: Iterable[Partition]) -> None:
        """Start tracking partitions."""
        for partition in partitions:
            self._spans.setdefault(partition, deque())

    def revoke(self, partitions: Iterable[Partition]) -> None:
        """Forget partitions; what is still in flight there is nobody's business any more."""
        for partition in partitions:
            self._spans.pop(partition, None)
            self._done.pop(partition, None)
            self._taken.pop(partition, None)
            self._handed_out.pop(partition, None)

    @property
    def assigned(self) -> Iterable[Partition]:
        """The partitions that are tracked."""
        return self._spans.keys()

    def take(self, ends: dict[Partition, int]) -> Taken:
        """Note that records up to each end were polled; return what ``finish`` wants when they are done."""
        taken = []
        for partition, end in ends.items():
            span = Span(end)
            self._spans[partition].append(span)
            self._taken[partition] = end
            taken.append((partition, span))
        return taken

    def pass_over(self, ends: dict[Partition, int]) -> None:
        """Note that nothing is left to take before each end: what lies there, if anything, is no record.

        The markers of transactions, and what was aborted. Committable when what was taken before is done.
        """
        for partition, end in ends.items():
            if end > self._taken.get(partition, 0):
                self.finish(self.take({partition: end}))

    def finish(self, taken: Taken) -> None:
        """Note that the records of ``take`` are answered and delivered."""
        for partition, span in taken:
            span.is_done = True
            spans = self._spans.get(partition)
            while spans and spans[0].is_done:
                self._done[partition] = max(spans.popleft().end, self._done.get(partition, 0))

    def live(self, taken: Taken) -> Taken:
        """Return those of ``take`` that count still: not finished, and not revoked since."""
        return [(partition, span) for partition, span in taken if span in self._spans.get(partition, ())]

    def in_flight(self, partitions: Iterable[Partition]) -> int:
        """Return how many spans of these partitions are not done."""
        return sum(len(self._spans.get(partition, ())) for partition in partitions)

    def pop_committable(self) -> dict[Partition, int]:
        """Return what is committable and was not handed out before."""
        handed_out = self._handed_out
        fresh = {key: offset for key, offset in self._done.items() if handed_out.get(key) != offset}
        handed_out.update(fresh)
        return fresh

    def committable(self, partitions: Iterable[Partition] | None = None) -> dict[Partition, int]:
        """Return all that is committable, of all partitions or of these, whoever may have it already."""
        keys = self._done if partitions is None else partitions
        return {key: self._done[key] for key in keys if key in self._done}

    def hand_back(self, partitions: Iterable[Partition]) -> None:
        """Note that what was handed out for these partitions was not committed."""
        for partition in partitions:
            self._handed_out.pop(partition, None)
