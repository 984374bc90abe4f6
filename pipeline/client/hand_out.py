"""HandOut: what a member of a group has read, what its caller was given of that, and what the caller is done with."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from pipeline.client.reply_table import Outcome

# What a reader acknowledges a result by: (partition, next offset), or the id of an entry.
Mark = tuple[int, int] | bytes


class Read(NamedTuple):
    """A result that was read, of the request ``id``; it is empty where nothing tells one."""

    id: str
    outcome: Outcome
    mark: Mark


class HandOut:
    """Gives results out in the order in which they were read. For one thread at a time; knows no broker.

    What one ``take`` gave counts as done when ``settle`` is called before the next one: a caller that fails before
    then gets it again, as it gets what it was never given.
    """

    def __init__(self) -> None:
        self._waiting: deque[Read] = deque()
        self._given: list[Mark] = []
        self._done: list[Mark] = []

    @property
    def is_empty(self) -> bool:
        """Whether all that was read has been given."""
        return not self._waiting

    def add(self, results: Iterable[Read]) -> None:
        """Take in what was read."""
        self._waiting.extend(results)

    def take(self, limit: int | None = None) -> dict[str, Outcome]:
        """Return the next results by id, ``limit`` at most. Of one id only the next: others may have sent it, too."""
        outcomes: dict[str, Outcome] = {}
        while self._waiting and len(outcomes) != limit and self._waiting[0].id not in outcomes:
            read = self._waiting.popleft()
            outcomes[read.id] = read.outcome
            self._given.append(read.mark)
        return outcomes

    def settle(self) -> None:
        """Take what was given for done."""
        self._done += self._given
        self._given = []

    def done(self) -> Sequence[Mark]:
        """Return what is done, once."""
        done, self._done = self._done, []
        return done
