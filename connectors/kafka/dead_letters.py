"""The headers of the dead letters of one route, with what its connector knows."""

from __future__ import annotations

from connectors.kafka.record import KafkaRecord
from pipeline.clock import Clock, SystemClock
from pipeline.connector import Record
from pipeline.dead_letters import headers
from pipeline.dead_letters.headers import Reason
from pipeline.records import Error
from pipeline.settings import RouteSettings


class DeadLetters:
    """Writes the headers; ``worker`` is the client id that they name. From any thread."""

    def __init__(self, route: RouteSettings, worker: str, clock: Clock | None = None) -> None:
        self._route = route
        self._worker = worker
        self._clock = clock or SystemClock()

    def headers(self, record: Record, error: Error, *, is_bare: bool) -> list[tuple[str, bytes | None]]:
        """Return the headers of the dead letter of a request; those of a bare one say what size its value had."""
        reason = Reason(
            error,
            self._worker,
            self._route.group,
            self._clock.unix_ms(),
            record.timestamp_type if isinstance(record, KafkaRecord) else 1,
            len(record.value) if is_bare else None,
        )
        return headers.write(record, reason, self._route.dead_letters.headers)
