"""The command that keeps a request aside: its fields as they came, then why."""

from __future__ import annotations

from typing import Final

from connectors.redis.entries import MOST_WORDS, Command
from connectors.redis.record import RedisRecord
from pipeline import redis_wire
from pipeline.clock import Clock, SystemClock
from pipeline.dead_letters import headers
from pipeline.dead_letters.headers import Reason
from pipeline.records import Error
from pipeline.settings import RouteSettings

_CREATE_TIME: Final = 1


class DeadLetters:
    """Of one route; ``worker`` is the client id that they name. From any thread."""

    def __init__(self, route: RouteSettings, worker: str, clock: Clock | None = None) -> None:
        self._route = route
        self._worker = worker
        self._clock = clock or SystemClock()

    def command(self, record: RedisRecord, error: Error) -> Command:
        """Return the command. Of an entry with more fields than a script can write, value and key alone are kept."""
        fields = list(record.fields)
        if len(fields) > MOST_WORDS:
            fields = redis_wire.fields_of(record.value, record.key, ())
        at_ms = self._clock.unix_ms()
        reason = Reason(error, self._worker, self._route.group, at_ms, _CREATE_TIME)
        said = headers.write(record, reason, self._route.dead_letters.headers)[len(record.headers) :]
        words = [word for name, text in said for word in (name.encode(), text or b"")]
        return ("XADD", self._route.dead_letter_topic, "*", *fields, *words)
