"""A connector of its own: requests wait in a table of a SQLite file, which several workers share, and so do results."""

from __future__ import annotations

import logging
import math
import sqlite3
import threading
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from sqlite_tables import connect, create, headers_of_text, headers_to_text, is_busy, patiently, transaction

from pipeline.clock import Clock, SystemClock
from pipeline.connector import NO_LIMIT, Answer, Record, Refuse, options_of
from pipeline.errors import ConnectorError, InvalidSettings, ResultTooLarge
from pipeline.settings import RouteSettings, Section, Settings

log = logging.getLogger(__name__)

# A file tells nobody that it has changed: it is looked at so often.
_LOOK_S: Final = 0.01
# The oldest that nobody has. A key that another worker has in flight waits, so that its requests stay in order. Casts:
# whoever has an SQL prompt may have put text or numbers there.
_FREE: Final = """
SELECT id, CAST(key AS BLOB), CAST(value AS BLOB), CAST(headers AS BLOB), CAST(sent_ms AS INTEGER) FROM requests AS it
WHERE topic = :topic AND worker IS NULL AND NOT EXISTS (
    SELECT 1 FROM requests AS earlier
    WHERE earlier.topic = it.topic AND earlier.key = it.key AND earlier.id < it.id AND earlier.worker <> :worker
)
ORDER BY id LIMIT :most
"""


class SqliteOptions(Section, frozen=True):
    """What ``connector_options`` of a route may say.

    ``path``: the file, as seen from where the worker was started. ``lease_s``: how long a worker may be silent before
    others take the requests that it has; longer than ``drain_timeout_s``, in which nobody polls.
    """

    path: str
    lease_s: float = 30.0


class SqliteConnector:
    """See Connector. Each request is answered once: its answer takes the place of its claim, in one transaction.

    ``poll`` has one connection to the file, on the feeder's thread; all writing of answers another, on a thread of its
    own. In the file this connector is a worker whose name nobody has had before.
    """

    def __init__(
        self, route: RouteSettings, options: SqliteOptions, client_id: str, clock: Clock | None = None
    ) -> None:
        self._route, self._options = route, options
        self._clock = clock or SystemClock()
        self._worker = f"{client_id}-{uuid.uuid4().hex[:8]}"
        self._renew_s = -math.inf  # when the lease is due again, by the monotonic clock
        self._is_created = False
        self._closing = threading.Event()
        self._until_s = math.inf  # how long a busy database is waited for, by the monotonic clock
        self._writer = ThreadPoolExecutor(1, "sqlite-answers")  # no thread before its first task
        self._is_open = False

    @classmethod
    def from_settings(cls, route: RouteSettings, settings: Settings, client_id: str) -> SqliteConnector:
        """Return the connector of one route; raises InvalidSettings. Nothing is opened yet."""
        options = options_of(route, SqliteOptions)
        place, drain_s = f"the route that reads {route.request_topic}", settings.worker.drain_timeout_s
        if options.lease_s <= drain_s:
            reason = f"lease_s must be more than drain_timeout_s, which is {drain_s:g}; got {options.lease_s:g}"
            raise InvalidSettings(place, reason)
        for setting, is_asked in (("a pattern", route.is_pattern), ("max_wait_ms", route.max_wait_ms > 0)):
            if is_asked:
                raise InvalidSettings(place, f"the sqlite connector does not know {setting}; leave it out")
        return cls(route, options, client_id)

    def open(self) -> None:
        """See Connector."""
        self._reading, self._writing = connect(self._options.path), connect(self._options.path)
        self._is_open = True

    # The feeder's thread.

    def poll(self, max_records: int, timeout_s: float, max_bytes: int = NO_LIMIT) -> Sequence[Record]:
        """See Connector. A database that others keep busy has nothing for now."""
        until_s = time.monotonic() + timeout_s
        while True:
            try:
                self._stay()
                records = self._claim(max_records, max_bytes) if max_records else []
            except sqlite3.Error as error:
                if not is_busy(error):
                    raise ConnectorError(self._options.path, str(error)) from error
                records = []
            left_s = until_s - time.monotonic()
            if records or left_s <= 0 or self._closing.wait(min(_LOOK_S, left_s)):
                return records

    def _stay(self) -> None:
        """Renew the lease in good time, and let go of the requests of workers whose lease is over."""
        if not self._is_created:
            create(self._reading)
            self._is_created = True
        if self._clock.monotonic_s() >= self._renew_s:
            with transaction(self._reading):
                self._renew()
                self._reading.execute("DELETE FROM workers WHERE lease_until_ms < ?", (self._clock.unix_ms(),))

    def _renew(self) -> None:
        until_ms = self._clock.unix_ms() + int(self._options.lease_s * 1000)
        self._reading.execute(
            "INSERT INTO workers VALUES (?, ?) ON CONFLICT DO UPDATE SET lease_until_ms = excluded.lease_until_ms",
            (self._worker, until_ms),
        )
        self._renew_s = self._clock.monotonic_s() + self._options.lease_s / 3

    def _claim(self, max_records: int, max_bytes: int) -> list[Record]:
        db, topic = self._reading, self._route.request_topic
        if db.execute("SELECT 1 FROM requests WHERE topic = ? AND worker IS NULL LIMIT 1", (topic,)).fetchone() is None:
            return []  # the usual case, without a lock
        records: list[Record] = []
        with transaction(db):
            self._renew()  # it may have run out since: then the row that claims refer to is gone
            size = 0
            rows = db.execute(_FREE, {"topic": topic, "worker": self._worker, "most": max_records})
            for id_, key, value, headers, sent_ms in rows:
                size += len(value)
                if records and size > max_bytes:
                    break
                records.append(self._record(id_, key, value, headers, sent_ms))
            rows.close()
            claims = [(self._worker, record.offset) for record in records]
            db.executemany("UPDATE requests SET worker = ? WHERE id = ?", claims)
        return records

    def _record(self, id_: int, key: bytes | None, value: bytes, headers: bytes, sent_ms: int) -> Record:
        topic = self._route.request_topic
        try:
            return Record(value, key, headers_of_text(headers), topic, 0, id_, sent_ms)
        except ValueError as error:
            reason = f"its headers are no JSON list of [name, value]: {error}"
            return Record(value, key, (), topic, 0, id_, sent_ms, fault=reason)

    # A worker's thread hands over, the writer's does it.

    def answer(self, records: Sequence[Record], answers: Sequence[Answer], refuse: Refuse) -> Future[None]:
        """See Connector."""
        try:
            return self._writer.submit(patiently, lambda: self._write(records, answers, refuse), self._until)
        except RuntimeError as error:  # the writer has ended
            late: Future[None] = Future()
            late.set_exception(ConnectorError(self._options.path, f"closed before the answer came: {error}"))
            return late

    def _until(self) -> float:
        return self._until_s

    def _write(self, records: Sequence[Record], answers: Sequence[Answer], refuse: Refuse) -> None:
        db, now_ms = self._writing, self._clock.unix_ms()
        with transaction(db):
            for record, answer in zip(records, answers, strict=True):
                done = db.execute("DELETE FROM requests WHERE id = ? AND worker = ?", (record.offset, self._worker))
                if done.rowcount:  # else the lease ran out, and another worker answers
                    self._put(record, answer, refuse, now_ms)
            if self._route.retention_s:
                oldest_ms = now_ms - int(self._route.retention_s * 1000)
                old = (self._route.result_topic, oldest_ms)
                db.execute("DELETE FROM results WHERE topic = ? AND answered_ms < ?", old)

    def _put(self, record: Record, answer: Answer, refuse: Refuse, now_ms: int) -> None:
        letter = answer.dead_letter
        try:
            self._put_result(record, answer, now_ms)
        except (sqlite3.IntegrityError, sqlite3.DataError):  # a CHECK of this table, or SQLite's own limit
            limit = self._writing.getlimit(sqlite3.SQLITE_LIMIT_LENGTH)
            answer = refuse(record, ResultTooLarge(self._route.servable, answer.size_bytes, limit))
            self._put_result(record, answer, now_ms)
            letter = letter or answer.dead_letter
        if letter is not None:
            self._writing.execute(
                "INSERT INTO dead_letters VALUES (?, ?, ?, ?, ?, ?, ?)",
                (record.offset, self._route.dead_letter_topic, record.key, record.value,
                 headers_to_text(record.headers), letter.code, letter.message),
            )  # fmt: skip

    def _put_result(self, record: Record, answer: Answer, now_ms: int) -> None:
        topic = answer.topic or self._route.result_topic
        row = (record.offset, topic, answer.key, answer.value, headers_to_text(answer.headers), now_ms)
        self._writing.execute("INSERT INTO results VALUES (?, ?, ?, ?, ?, ?)", row)

    def close(self, timeout_s: float) -> None:
        """See Connector. What was claimed and not answered is free again at once."""
        if not self._is_open:
            return
        self._is_open = False
        self._until_s = time.monotonic() + timeout_s
        self._closing.set()
        left = self._writer.submit(patiently, self._leave, self._until)  # after all that was answered
        self._writer.shutdown(wait=False)
        try:
            left.result(timeout_s)
        except (ConnectorError, TimeoutError) as error:
            log.warning("what is in flight comes again when the lease is over: %s", error)
        self._reading.close()

    def _leave(self) -> None:
        with transaction(self._writing):
            self._writing.execute("DELETE FROM workers WHERE id = ?", (self._worker,))
        self._writing.close()
