"""What a worker takes from its stream: entries of its own from before, of workers that are gone, and new ones."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any, Final

from connectors.redis import scripts
from connectors.redis.entries import Entries
from connectors.redis.held import Held
from connectors.redis.record import RedisRecord
from connectors.redis.server import Server
from connectors.redis.suspects import Suspects
from pipeline import redis_access
from pipeline.settings import RouteSettings

# Of the time after which entries are others': how often a worker says that it is there, and looks for those of others.
_PER_CLAIM: Final = 4
# An idle time with which entries are anybody's at once, as a multiple of the time after which they are.
_LET_GO: Final = 10
# How often consumers that are gone are looked for, and how long one is idle before it counts as gone, likewise.
_CONSUMERS: Final = 3
# What an entry is taken to have before one was seen.
_FIRST_GUESS_BYTES: Final = 64 * 1024
_IDS_PER_CALL: Final = 1000
_START: Final = b"-"
_AS_BEFORE: Final = -1
# How long a poll waits for what is in flight, where nothing else may be beside the next entries.
_QUIET_S: Final = 0.1

_Entry = tuple[bytes, Sequence[bytes]]


class Intake:
    """Reads one stream as one consumer of its group. For the feeder's thread only; raises what redis-py raises.

    What is read and not returned yet lies in memory: about as much as one batch, by the sizes of the entries before.
    """

    def __init__(
        self,
        server: Server,
        route: RouteSettings,
        consumer: str,
        entries: Entries,
        held: Held,
    ) -> None:
        self._server = server
        self._stream, self._group = route.request_topic, route.group
        self._consumer = consumer
        self._entries = entries
        self._held = held
        self._max_wait_s = route.max_wait_ms / 1000
        self._claim_after_s = route.redis.claim_after_s
        self._looks_for_suspects = bool(route.poison_after_kills)
        self._suspects = Suspects()
        self._is_trying = False  # suspects are in flight
        self._read_ahead: deque[RedisRecord] = deque()
        self._largest_bytes = _FIRST_GUESS_BYTES
        self._is_prepared = False
        self._own_from: bytes | None = _START  # what is pending for this consumer was looked at up to here
        self._claim_from: bytes | None = b"0-0"  # likewise, of what others have left
        self._next_sign_s = self._next_claim_s = self._next_consumers_s = 0.0

    def forget_connection(self) -> None:
        """Begin again: a reply may have been lost, and with it the entries that it brought; or the group is gone."""
        self._is_prepared = False
        self._own_from = _START

    def attend(self) -> None:
        """Say that this worker is there, when it is time to: it keeps its entries for as long as it does."""
        if not self._is_prepared:
            self._run(scripts.PREPARE)
            self._is_prepared = True
        now_s = time.monotonic()
        if now_s >= self._next_sign_s:
            self._next_sign_s = now_s + self._claim_after_s / _PER_CLAIM
            self._keep()
        if now_s >= self._next_claim_s:
            self._next_claim_s = now_s + self._claim_after_s / _PER_CLAIM
            self._claim_from = self._claim_from or b"0-0"
        if now_s >= self._next_consumers_s:
            self._next_consumers_s = now_s + self._claim_after_s * _CONSUMERS
            self._server.run(scripts.LEAVE, self._group, "", int(self._claim_after_s * _CONSUMERS * 1000))

    def take(self, max_records: int, max_bytes: int, timeout_s: float) -> list[RedisRecord]:
        """Return what is there, after ``timeout_s`` nothing; see Connector.poll."""
        self.attend()
        if not (self._read_ahead or self._suspects or self._is_trying):
            count = self._count(max_records, max_bytes)
            self._take_old(count)
            if not (self._read_ahead or self._suspects):
                self._wait_for_new(count, timeout_s)
        if self._suspects or self._is_trying:
            return self._try(max_records, max_bytes, timeout_s)
        if self._read_ahead and self._max_wait_s:
            self._wait_for_more(max_records, max_bytes)
        return self._cut(max_records, max_bytes)

    def leave(self) -> None:
        """Let others have at once what was not answered, and be no consumer any more where nothing is left."""
        idle_ms = int(self._claim_after_s * _LET_GO * 1000)
        for deaths, ids in self._held.by_deaths().items():
            self._mark(ids, idle_ms, deaths)
        self._server.run(scripts.LEAVE, self._group, self._consumer, 2**53)

    def _run(self, script: scripts.Script, *arguments: Any) -> Any:
        return self._server.run(script, self._group, self._consumer, *arguments)

    def _mark(self, ids: Sequence[bytes], idle_ms: int, deaths: int) -> set[bytes]:
        """Say how long entries have been idle and how many have died with them; return those that are ours still."""
        mine: set[bytes] = set()
        for start in range(0, len(ids), _IDS_PER_CALL):
            mine.update(self._run(scripts.KEEP, idle_ms, deaths, *ids[start : start + _IDS_PER_CALL]))
        return mine

    def _keep(self) -> None:
        """Say that all entries that this worker has are in work; drop those that are others' by now."""
        ids = [id_ for several in self._held.by_deaths().values() for id_ in several]
        mine = self._mark(ids, 0, _AS_BEFORE)
        lost = [id_ for id_ in ids if id_ not in mine]
        if lost:
            self._held.drop(lost)
            self._read_ahead = deque(record for record in self._read_ahead if record.entry_id in mine)
            self._suspects.keep(mine)

    def _try(self, max_records: int, max_bytes: int, timeout_s: float) -> list[RedisRecord]:
        """Return the next suspects as soon as nothing is in flight, and note before that they are tried."""
        waiting = len(self._read_ahead) + len(self._suspects)
        if not self._held.wait_until_at_most(waiting, min(timeout_s, _QUIET_S)):
            return []
        self._is_trying = bool(self._suspects)
        if not self._suspects:
            return []
        deaths, records = self._suspects.next(max_records, max_bytes)
        try:
            mine = self._mark([record.entry_id for record in records], 0, deaths + 1)
        except redis_access.errors():
            self._suspects.put_back(deaths, records)
            raise
        self._held.drop([record.entry_id for record in records if record.entry_id not in mine])
        return [record for record in records if record.entry_id in mine]

    def _take_old(self, count: int) -> None:
        """Read what this consumer has had before, then what others have left, a part of it at a time."""
        while self._own_from is not None and not (self._read_ahead or self._suspects):
            last, found = self._run(scripts.OWN, self._own_from, count)
            self._own_from = b"(" + last if last else None
            self._add_old(found)
        if self._claim_from is not None and not (self._read_ahead or self._suspects):
            idle_ms = int(self._claim_after_s * 1000)
            next_id, found = self._run(scripts.CLAIM, idle_ms, self._claim_from, count)
            self._claim_from = None if next_id == b"0-0" else next_id
            self._add_old(found)

    def _wait_for_new(self, count: int, timeout_s: float) -> None:
        deadline_s = time.monotonic() + timeout_s
        left_s = timeout_s
        while True:
            self._read(count, min(left_s, self._server.longest_block_s))
            left_s = deadline_s - time.monotonic()
            if self._read_ahead or left_s <= 0:
                return
            self.attend()

    def _wait_for_more(self, max_records: int, max_bytes: int) -> None:
        deadline_s = time.monotonic() + self._max_wait_s
        while True:
            left_s = deadline_s - time.monotonic()
            size = sum(len(record.value) for record in self._read_ahead)
            missing = max_records - len(self._read_ahead)
            if left_s <= 0 or missing <= 0 or size >= max_bytes:
                return
            self._read(min(missing, self._count(missing, max_bytes - size)), min(left_s, self._server.longest_block_s))

    def _read(self, count: int, block_s: float) -> None:
        block = ("BLOCK", max(1, int(block_s * 1000))) if block_s > 0 else ()
        command = ("XREADGROUP GROUP", self._group, self._consumer, "COUNT", count, *block)
        reply = self._server.execute(*command, "STREAMS", self._stream, ">")
        if reply:
            self._add(reply[0][1])

    def _add_old(self, found: Iterable[tuple[bytes, Sequence[bytes], int]]) -> None:
        """Tell entries whose workers have died from those that were let go."""
        let_go: list[_Entry] = []
        for id_, fields, deaths in found:
            if not (deaths and self._looks_for_suspects):
                let_go.append((id_, fields))
            elif self._held.without([id_]):
                self._held.add([id_], deaths)
                self._suspects.add(deaths, self._entries.record(id_, fields))
        self._add(let_go)

    def _add(self, found: Iterable[_Entry]) -> None:
        """Turn entries into records, all but those that this worker has already."""
        entries = dict(found)
        records = [self._entries.record(id_, entries[id_]) for id_ in self._held.without(entries)]
        if records:
            largest = max([sum(map(len, record.fields)) for record in records])
            self._largest_bytes = max(1, largest, self._largest_bytes // 2)
            self._held.add([record.entry_id for record in records])
            self._read_ahead.extend(records)

    def _count(self, max_records: int, max_bytes: int) -> int:
        """Return how many entries fit if they are like those before."""
        return min(max_records, max(1, max_bytes // self._largest_bytes))

    def _cut(self, max_records: int, max_bytes: int) -> list[RedisRecord]:
        ahead = self._read_ahead
        if len(ahead) <= max_records and sum([len(record.value) for record in ahead]) <= max_bytes:
            records = list(ahead)
            ahead.clear()
            return records
        records = [ahead.popleft()]
        size = len(records[0].value)
        while ahead and len(records) < max_records and size + len(ahead[0].value) <= max_bytes:
            records.append(ahead.popleft())
            size += len(records[-1].value)
        return records
