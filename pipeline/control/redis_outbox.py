"""RedisOutbox: records to a control log in Redis, without having anybody wait."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, Final

from pipeline import redis_access
from pipeline.control import redis_log
from pipeline.errors import ConnectorError, TlsFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from pipeline.settings import RedisSettings

log = logging.getLogger(__name__)

_RETRY_S: Final = 0.25
# Where it is no outage: somebody has to change something first, and each attempt is a line in Redis' own log.
_LASTING_RETRY_S: Final = 5.0
_MAX_RECORDS: Final = 100
# Nobody asks for the history of a state.
_SUPERSEDED_MS: Final = 0

Records = dict[bytes, bytes | None]


class RedisOutbox:
    """See Outbox; ``on_done`` as in Logs, called on the outbox's thread.

    What waits is the last record of each key: it would replace the others. Nothing is given up before ``close``: what
    Redis refuses (a missing permission, a wrong password, no memory, a key that is no log) is logged once, kept, and
    tried again every 5 s. Why Redis is away is told by who reads.
    """

    def __init__(self, redis: RedisSettings, topic: str, client_id: str, on_done: Callable[[bytes], None]) -> None:
        self._redis, self._topic, self._client_id, self._on_done = redis, topic, client_id, on_done
        self._changed = threading.Condition()  # guards the three below
        self._waiting: Records = {}
        self._writing: Records = {}
        self._is_closed = False
        self._client: Any = None
        self._problem = ""  # what was logged last, and holds
        self._thread = threading.Thread(target=self._run, name=f"{topic}-outbox", daemon=True)
        self._thread.start()

    def send(self, key: bytes, value: bytes | None) -> None:
        """See Outbox."""
        with self._changed:
            self._waiting.pop(key, None)  # a later record stands behind all others
            self._waiting[key] = value
            self._changed.notify_all()

    def poll(self) -> None:
        """See Outbox: its thread does all there is to do."""

    def flush(self, timeout_s: float) -> int:
        """See Outbox."""
        with self._changed:
            self._changed.wait_for(lambda: not (self._waiting or self._writing), timeout_s)
            return len(self._waiting) + len(self._writing)

    def close(self) -> None:
        """See Outbox."""
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify_all()

    def _run(self) -> None:
        while records := self._next():
            done, problem, pause_s = self._write(records)
            for key in done:
                self._on_done(key)
            self._put_back(done)
            if problem or not pause_s:
                self._tell(problem)
            with self._changed:
                self._changed.wait_for(lambda: self._is_closed, pause_s)
        self._let_go()

    def _next(self) -> Records:
        """Wait for records, and return those that are to be written now; none when it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            keys = list(self._waiting)[:_MAX_RECORDS]
            self._writing = {key: self._waiting.pop(key) for key in keys}
            return self._writing

    def _put_back(self, done: Container[bytes]) -> None:
        """Have what is not done wait again, unless it was superseded."""
        with self._changed:
            left = {key: value for key, value in self._writing.items() if key not in done}
            self._writing = {}
            if not self._is_closed:
                self._waiting = {**left, **self._waiting}
            self._changed.notify_all()

    def _write(self, records: Records) -> tuple[list[bytes], str, float]:
        """Return the keys whose records are written, what is wrong where it is no outage, and how long to wait.

        Stops at the first that can not be written.
        """
        done: list[bytes] = []
        for key, value in records.items():
            try:
                if self._client is None:
                    self._client = redis_access.connect(self._redis, self._client_id, retries=0)
                redis_log.write_to(self._client, self._topic, key, value, superseded_ms=_SUPERSEDED_MS)
            except redis_access.errors() as error:
                self._let_go()
                if redis_access.is_away(error):
                    return done, "", _RETRY_S
                problem = str(redis_access.failure(self._redis, error))
                return done, problem, _RETRY_S if redis_access.is_full(error) else _LASTING_RETRY_S
            except TlsFailed as error:
                return done, str(error), _LASTING_RETRY_S
            except ConnectorError:  # a cluster that is away
                return done, "", _RETRY_S
            done.append(key)
        return done, "", 0.0

    def _let_go(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def _tell(self, problem: str) -> None:
        """Log why states are not written, once as long as it is the same; and that they are again."""
        if problem != self._problem:
            self._problem = problem
            what = f"states are not published: {problem}" if problem else "states are published again"
            log.warning("topic %s: %s", self._topic, what)
