"""RedisLogs: control logs in Redis."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipeline.control.redis_log_reader import RedisLogReader
from pipeline.control.redis_log_writer import RedisLogWriter
from pipeline.control.redis_outbox import RedisOutbox

if TYPE_CHECKING:
    from pipeline.control.logs import OnFatal, OnRecord
    from pipeline.settings import RedisSettings


class RedisLogs:
    """See Logs, and ``redis_log`` for how a log lies in Redis. It comes to be with its first record."""

    def __init__(self, redis: RedisSettings) -> None:
        """``redis`` is the section of the settings."""
        self._redis = redis

    def reader(
        self,
        topic: str,
        client_id: str,
        *,
        on_record: OnRecord,
        on_fatal: OnFatal,
        on_caught_up: Callable[[], None] = lambda: None,
        log_level: int = logging.WARNING,
    ) -> RedisLogReader:
        """See Logs."""
        return RedisLogReader(
            self._redis,
            topic,
            client_id,
            on_record=on_record,
            on_fatal=on_fatal,
            on_caught_up=on_caught_up,
            log_level=log_level,
        )

    def writer(self, topic: str, client_id: str) -> RedisLogWriter:
        """See Logs."""
        return RedisLogWriter(self._redis, topic, client_id)

    def outbox(self, topic: str, client_id: str, on_done: Callable[[bytes], None]) -> RedisOutbox:
        """See Logs."""
        return RedisOutbox(self._redis, topic, client_id, on_done)
