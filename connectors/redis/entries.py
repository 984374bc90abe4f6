"""How the entries of a route's stream are read as records, and its answers are written: one class for each format."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from connectors.redis.record import RedisRecord, record_of
from pipeline import redis_wire
from pipeline.clock import Clock
from pipeline.connector import Answer
from pipeline.settings import RouteSettings

Command = Sequence[bytes | str | int]
"""A command of Redis with its arguments; the key stands second."""

# How many words the fields of an entry may have: a script can write no command with more than 8,000 or so, and a result
# repeats headers.
MOST_WORDS: Final = 2000


def more_than_most(fields: Sequence[bytes]) -> str:
    """Return what is wrong with an entry that has too many fields, names and values in turns; empty for others."""
    count, most = len(fields) // 2, MOST_WORDS // 2
    return f"the entry has {count} fields, at most {most} are read" if len(fields) > MOST_WORDS else ""


class Entries(Protocol):
    """One format, for one route. Pure; any thread may call."""

    def record(self, entry_id: bytes, fields: Sequence[bytes]) -> RedisRecord:
        """Return the record of an entry, whose fields are names and values in turns.

        Never raises: what can not be read has a ``fault``.
        """
        ...

    def commands(self, record: RedisRecord, answer: Answer) -> list[Command]:
        """Return the commands that write an answer, in order; its dead letter is not theirs.

        An HSET is written so that nothing that stood at its key before is left beside it.
        """
        ...


class PlainEntries:
    """See Entries: the fields of ``pipeline.redis_wire``; results as hashes that expire, or in a stream."""

    def __init__(self, route: RouteSettings, clock: Clock) -> None:
        self._route = route
        self._clock = clock
        self._ttl_ms = int(route.redis.result_ttl_s * 1000)
        self._is_stream = route.redis.results == "stream"

    def record(self, entry_id: bytes, fields: Sequence[bytes]) -> RedisRecord:
        """See Entries."""
        topic = self._route.request_topic
        if len(fields) == 4 and fields[0] == redis_wire.VALUE and fields[2] == redis_wire.KEY:  # as most are
            return record_of(topic, entry_id, fields, fields[1], fields[3])
        value, key, headers, fault = redis_wire.read(fields)
        if too_many := more_than_most(fields):
            headers, fault = [], too_many
        return record_of(topic, entry_id, fields, value, key, headers, fault)

    def commands(self, record: RedisRecord, answer: Answer) -> list[Command]:
        """See Entries."""
        results = self._route.result_topic
        topic = answer.topic or results
        if redis_wire.is_reply_stream(topic, results):
            fields = redis_wire.fields_of(answer.value, record.key or record.entry_id, answer.headers)
            # A client that is gone has no stream any more, and none is made for it.
            reply: Command = ("XADD", topic, "NOMKSTREAM", "*", *fields)
            return [reply, self._appended(results, record, answer)] if self._is_stream else [reply]
        if self._is_stream:
            return [self._appended(topic, record, answer)]
        key = redis_wire.result_key(topic, record.key, record.entry_id)
        fields = redis_wire.fields_of(answer.value, None, answer.headers)
        written: list[Command] = [("HSET", key, *fields)]
        if self._ttl_ms:
            written.append(("PEXPIRE", key, self._ttl_ms))
        return written

    def _appended(self, topic: str, record: RedisRecord, answer: Answer) -> Command:
        kept = ("MINID", "~", self._clock.unix_ms() - self._ttl_ms) if self._ttl_ms else ()
        fields = redis_wire.fields_of(answer.value, record.key or record.entry_id, answer.headers)
        return ("XADD", topic, *kept, "*", *fields)
