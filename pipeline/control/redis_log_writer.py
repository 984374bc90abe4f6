"""Writing to a control log in Redis: one record at a time, accepted before the caller goes on."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pipeline import redis_access
from pipeline.control import redis_log
from pipeline.errors import ConnectorError

if TYPE_CHECKING:
    from pipeline.settings import RedisSettings

# Whoever decides by what stands wants to hear of what was replaced meanwhile: as long as Kafka's open segment.
_SUPERSEDED_MS: Final = 60 * 60 * 1000
_RETRY_S: Final = 0.05
_LEAST_S: Final = 0.05


class RedisLogWriter:
    """See LogWriter. While Redis is away it is tried again until the time is over; a record may then stand twice."""

    def __init__(self, redis: RedisSettings, topic: str, client_id: str) -> None:
        self._redis, self._topic, self._client_id = redis, topic, client_id
        self._lock = threading.Lock()
        self._client: Any = None

    def write(self, key: bytes, value: bytes | None, timeout_s: float) -> int:
        """See LogWriter."""
        with self._lock:
            deadline_s = time.monotonic() + timeout_s
            while True:
                left_s = deadline_s - time.monotonic()
                try:
                    return self._attempt(key, value, max(_LEAST_S, min(left_s, self._redis.timeout_s)))
                except redis_access.errors() as error:
                    self._let_go()
                    failure, is_away = redis_access.failure(self._redis, error), redis_access.is_away(error)
                if not is_away:
                    raise failure
                if deadline_s - time.monotonic() <= _RETRY_S:
                    reason = f"the record was not accepted within {timeout_s:g} s: {failure}"
                    raise ConnectorError(f"topic {self._topic}", reason)
                time.sleep(_RETRY_S)

    def close(self, timeout_s: float) -> None:
        """See LogWriter."""
        del timeout_s  # nothing waits
        with self._lock:
            self._let_go()

    def _attempt(self, key: bytes, value: bytes | None, timeout_s: float) -> int:
        if self._client is None:
            connect_s = min(timeout_s, self._redis.connect_timeout_s)
            settings = msgspec.structs.replace(self._redis, connect_timeout_s=connect_s, timeout_s=timeout_s)
            self._client = redis_access.connect(settings, self._client_id, retries=0)
        generation: int = redis_log.write_to(self._client, self._topic, key, value, superseded_ms=_SUPERSEDED_MS)
        return generation

    def _let_go(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
