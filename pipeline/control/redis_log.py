"""A control log in Redis: a stream with the records, and beside it which of them is the last of its key.

=========================  ======  =============================================================================
key                        type    what
=========================  ======  =============================================================================
``<topic>``                stream  one entry per record: ``key``, and ``value`` unless it is a tombstone
``{<topic>}:last``         hash    the id of the last entry of each key
``{<topic>}:superfluous``  zset    entries that leave, superseded ones and tombstones, by when they do (Unix ms)
=========================  ======  =============================================================================

The id of an entry is ``<generation>-<time in ms>``: generations grow by one, and an entry that a failover has lost and
one that was written in its place differ. A write is one script, so that all of this is one step; its keys have one hash
slot. Whoever writes by other means does it by this script too, or readers never see what was superseded go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

# As long as a reader that was away can still hear that a key was forgotten; Kafka's own delete.retention.ms.
_TOMBSTONE_MS: Final = 24 * 60 * 60 * 1000
_NO_ID: Final = (-1, -1)
Id = tuple[int, int]

WRITE: Final = """
local stream, last, superfluous = KEYS[1], KEYS[2], KEYS[3]
local key, value, lasts_ms, tombstone_ms = ARGV[1], ARGV[4], tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local generation = 0
if redis.call('EXISTS', stream) == 1 then
  local info = redis.call('XINFO', 'STREAM', stream)
  for at = 1, #info, 2 do
    if info[at] == 'last-generated-id' then generation = tonumber(string.match(info[at + 1], '^%d+')) + 1 end
  end
end
local id = string.format('%d-%d', generation, now)
if value then
  redis.call('XADD', stream, id, 'key', key, 'value', value)
else
  redis.call('XADD', stream, id, 'key', key)
end
local before = redis.call('HGET', last, key)
redis.call('HSET', last, key, id)
if before and lasts_ms > 0 then
  redis.call('ZADD', superfluous, now + lasts_ms, before .. ' ' .. key)
elseif before then
  redis.call('XDEL', stream, before)
  redis.call('ZREM', superfluous, before .. ' ' .. key)
end
if not value then redis.call('ZADD', superfluous, now + tombstone_ms, id .. ' ' .. key) end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', superfluous, '-inf', now, 'LIMIT', 0, 100)) do
  local old, of = string.match(member, '^(%d+%-%d+) (.*)$')
  redis.call('XDEL', stream, old)
  if redis.call('HGET', last, of) == old then redis.call('HDEL', last, of) end
  redis.call('ZREM', superfluous, member)
end
return generation
"""


class Entry(msgspec.Struct, frozen=True):
    """One record as it stands in the stream."""

    id: Id
    key: bytes
    value: bytes | None


def keys_of(topic: str) -> tuple[str, str, str]:
    """Return the keys of a log: its stream, the ids of the last entries, the entries that leave. Pure."""
    tag = topic if "{" in topic else f"{{{topic}}}"
    return topic, f"{tag}:last", f"{tag}:superfluous"


def write_to(client: Any, topic: str, key: bytes, value: bytes | None, *, superseded_ms: int) -> int:
    """Have a client of redis-py write one record; return its generation.

    What it supersedes stays for ``superseded_ms``, for readers that want all of the history. Raises what redis-py does.
    """
    arguments = [key, superseded_ms, _TOMBSTONE_MS, *([] if value is None else [value])]
    generation: int = client.eval(WRITE, 3, *keys_of(topic), *arguments)
    return generation


def entries_of(found: Iterable[tuple[bytes, dict[bytes, bytes]]]) -> list[Entry]:
    """Return entries as records; what has no key is nobody's record, and left out. Pure."""
    return [
        Entry(id_of(id_), fields[b"key"], fields.get(b"value")) for id_, fields in found if fields and b"key" in fields
    ]


def id_of(text: bytes) -> Id:
    """Return an entry's id, which sorts. Pure."""
    generation, _, time_ms = text.partition(b"-")
    return int(generation), int(time_ms)


def text_of(id_: Id) -> str:
    """Return an id as Redis writes it. Pure."""
    return f"{id_[0]}-{id_[1]}"


class Position:
    """What a reader has seen, and what of a log it has to see yet. No thread, no client."""

    def __init__(self) -> None:
        self.last: Id = _NO_ID
        """The id of the last entry that was seen."""
        self._seen: dict[bytes, Id] = {}

    def take(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return entries that have come, to be delivered in this order."""
        taken = [entry for entry in entries if entry.id > self.last]
        for entry in taken:
            self._seen[entry.key] = entry.id
            self.last = entry.id
        return taken

    def take_all(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return what is to be delivered of a log that was read anew, after an outage.

        It may have lost its last records, or all of them, and have others in their places: then the last record of a
        key that was seen otherwise counts. A key that is gone without a tombstone is no news.
        """
        found = list(entries)
        last = {entry.key: entry.id for entry in found}
        new = [
            entry
            for entry in found
            if entry.id > self.last or (entry.id == last[entry.key] != self._seen.get(entry.key))
        ]
        self._seen = last
        self.last = found[-1].id if found else _NO_ID
        return new
