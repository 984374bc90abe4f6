"""Which entries may have killed a worker, and how they are tried again. Pure bookkeeping; not thread-safe.

Redis counts how often an entry was delivered. Here that count is how many workers had it when they ended without
letting it go: it goes up before a suspect is handed out, and down again when a worker leaves in good order. Suspects
are handed out in groups, with nothing else of the route in flight, so that a second death leaves few of them; those
come one at a time, and a worker that dies then has named the entry.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import Final

from msgspec import structs

from connectors.redis.record import RedisRecord
from connectors.suspects import group_size

# Of so many deaths the last one had the entry alone in flight: before, it may have been one of its neighbours.
_NAMED: Final = 3


class Suspects:
    """Those that this worker has, and has not handed out yet, in order."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, RedisRecord]] = deque()
        self._together = 1

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, deaths: int, record: RedisRecord) -> None:
        """Note one; ``deaths`` is how many workers had it when they ended, at least 1."""
        self._waiting.append((deaths, record))
        self._together = group_size(len(self._waiting))

    def keep(self, ids: Collection[bytes]) -> None:
        """Forget all others: they are another worker's by now."""
        self._waiting = deque(each for each in self._waiting if each[1].entry_id in ids)

    def next(self, max_records: int, max_bytes: int) -> tuple[int, Sequence[RedisRecord]]:
        """Return those that are handed out next, of which there is one at least, and how many deaths each has seen."""
        deaths = self._waiting[0][0]
        most = min(self._together, max_records) if deaths == 1 else 1
        found: list[RedisRecord] = []
        size_bytes = 0
        while self._waiting and self._waiting[0][0] == deaths and len(found) < most:
            record = self._waiting[0][1]
            size_bytes += len(record.value)
            if found and size_bytes > max_bytes:
                break
            self._waiting.popleft()
            found.append(structs.replace(record, kills=deaths) if deaths >= _NAMED else record)
        return deaths, found

    def put_back(self, deaths: int, records: Sequence[RedisRecord]) -> None:
        """Have what ``next`` returned wait again, before all others: it was not handed out."""
        self._waiting.extendleft((deaths, record) for record in reversed(records))
