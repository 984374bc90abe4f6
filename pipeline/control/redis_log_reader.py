"""Reading a control log in Redis: all of it from the beginning, and then whatever comes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pipeline import redis_access
from pipeline.control import redis_log
from pipeline.control.reader_thread import ReaderThread
from pipeline.errors import AuthenticationFailed, ConnectorError, TlsFailed

if TYPE_CHECKING:
    from pipeline.control.logs import OnFatal, OnRecord
    from pipeline.settings import RedisSettings

log = logging.getLogger(__name__)

_RETRY_S: Final = 0.25
# How often a log that nothing is heard of is looked at: it may have been emptied, and begin anew.
_LOOK_S: Final = 5.0
_MAX_RECORDS: Final = 500
# A client that is not let in keeps trying, and says so again after this time.
_REMIND_S: Final = 60.0


class RedisLogReader:
    """See LogReader. A log that does not exist is empty; one that lost its end is read again from its beginning.

    The offset of a record is its generation; there is one partition, 0.
    """

    def __init__(
        self,
        redis: RedisSettings,
        topic: str,
        client_id: str,
        *,
        on_record: OnRecord,
        on_fatal: OnFatal,
        on_caught_up: Callable[[], None],
        log_level: int,
    ) -> None:
        """Nothing is connected yet; ``log_level`` is that of outages."""
        self.caught_up = threading.Event()
        self._redis, self._topic, self._client_id, self._log_level = redis, topic, client_id, log_level
        self._on_record, self._on_caught_up = on_record, on_caught_up
        self._client: Any = None
        self._position = redis_log.Position()
        self._is_whole = False  # whether the log has been read from its beginning since the connection was made
        self._look_at_s = 0.0
        self._problem: str | None = None
        self._said_s = 0.0
        self._thread = ReaderThread(topic, self.step, self.close, on_fatal)

    @property
    def problem(self) -> str | None:
        """See LogReader."""
        return self._problem

    def start(self) -> None:
        """See LogReader."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """See LogReader."""
        self._thread.stop(timeout_s)

    def step(self, timeout_s: float = 0.2) -> None:
        """See LogReader; while Redis is away, blocks for as long as it takes to find that out."""
        redis_access.package()  # raises where it is not installed
        try:
            if self._client is None:
                self._client = redis_access.connect(
                    self._redis, self._client_id, retries=0, timeout_s=self._redis.timeout_s + timeout_s
                )
            entries = self._read(timeout_s)
        except redis_access.errors() as error:
            self._missed(redis_access.failure(self._redis, error), is_away=redis_access.is_away(error))
            return
        except ConnectorError as error:  # a cluster that is away
            self._missed(error, is_away=True)
            return
        self._found()
        for entry in entries:
            self._on_record(entry.key, entry.value, 0, entry.id[0])
        if not self.caught_up.is_set():
            self._on_caught_up()
            self.caught_up.set()

    def close(self) -> None:
        """See LogReader."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _read(self, timeout_s: float) -> list[redis_log.Entry]:
        """Return what is new: of the whole log where that has to be read, else what comes in ``timeout_s``."""
        now_s = time.monotonic()
        if now_s >= self._look_at_s:
            self._is_whole = self._is_whole and self._last_id() >= self._position.last
            self._look_at_s = now_s + _LOOK_S
        if not self._is_whole:
            entries = self._position.take_all(self._whole())
            self._is_whole = True
            return entries
        after = redis_log.text_of(max(self._position.last, (0, 0)))
        found = self._client.xread({self._topic: after}, count=_MAX_RECORDS, block=max(1, int(timeout_s * 1000)))
        return self._position.take(redis_log.entries_of(found[0][1])) if found else []

    def _whole(self) -> list[redis_log.Entry]:
        entries: list[redis_log.Entry] = []
        start = "-"
        while True:
            found = self._client.xrange(self._topic, start, "+", count=_MAX_RECORDS)
            entries += redis_log.entries_of(found)
            if len(found) < _MAX_RECORDS:
                return entries
            start = f"({found[-1][0].decode()}"

    def _last_id(self) -> redis_log.Id:
        """Return the id of the last entry that the log ever had."""
        try:
            return redis_log.id_of(self._client.xinfo_stream(self._topic)["last-generated-id"])
        except redis_access.package().ResponseError as error:
            if "no such key" in str(error):
                return -1, -1
            raise

    def _missed(self, failure: ConnectorError, *, is_away: bool) -> None:
        """Note an error that may heal by itself, and wait; raises one that does not."""
        self.close()
        self._is_whole = False
        may_pass = is_away or isinstance(failure, AuthenticationFailed | TlsFailed)  # as over Kafka: who rotates may
        if not may_pass:
            raise failure
        problem, now_s = str(failure), time.monotonic()
        is_reminder = not is_away and now_s - self._said_s > _REMIND_S
        if self._problem is None or is_reminder:
            self._said_s = now_s
            log.log(self._log_level, "topic %s: %s; waiting", self._topic, problem)
        self._problem = problem
        self._thread.is_stopping.wait(_RETRY_S)

    def _found(self) -> None:
        if self._problem is not None:
            log.log(self._log_level, "topic %s: can be read again", self._topic)
        self._problem = None
