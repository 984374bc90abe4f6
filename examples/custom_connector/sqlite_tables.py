"""The tables of the SQLite connector: what workers and clients agree on."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import msgspec

from pipeline.connector import Headers
from pipeline.errors import ConnectorError

# A worker is a row that has to be renewed. When the row goes, by a clean end or because its lease ran out, the requests
# that it had claimed are free again. AUTOINCREMENT: an id is never used twice, though its row is deleted.
SCHEMA: Final = """
BEGIN IMMEDIATE;
CREATE TABLE IF NOT EXISTS workers (id TEXT PRIMARY KEY, lease_until_ms INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    topic TEXT NOT NULL,
    key BLOB,
    value BLOB NOT NULL,
    headers TEXT NOT NULL DEFAULT '[]',
    sent_ms INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)),
    worker TEXT REFERENCES workers (id) ON DELETE SET NULL
);
CREATE INDEX IF NOT EXISTS waiting ON requests (topic, id) WHERE worker IS NULL;
CREATE INDEX IF NOT EXISTS claimed ON requests (topic, key) WHERE worker IS NOT NULL;
CREATE INDEX IF NOT EXISTS of_worker ON requests (worker) WHERE worker IS NOT NULL;
CREATE TABLE IF NOT EXISTS results (
    request INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    key BLOB,
    value BLOB NOT NULL,
    headers TEXT NOT NULL,
    answered_ms INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS by_key ON results (topic, key);
CREATE INDEX IF NOT EXISTS by_age ON results (topic, answered_ms);
CREATE TABLE IF NOT EXISTS dead_letters (
    request INTEGER PRIMARY KEY,
    topic TEXT NOT NULL,
    key BLOB,
    value BLOB NOT NULL,
    headers TEXT NOT NULL,
    code TEXT NOT NULL,
    message TEXT NOT NULL
);
COMMIT;
"""

_BUSY_S: Final = 1.0
_RETRY_S: Final = 0.01
_ANY: Final = "surrogateescape"  # bytes that are not UTF-8 come back as they were
_Pairs = list[tuple[str, str | None]]
T = TypeVar("T")


def connect(path: str) -> sqlite3.Connection:
    """Open the file, which is made where it is missing, and nothing else; raises ConnectorError.

    For one thread at a time. A statement waits for another writer for a second, then it is busy.
    """
    try:
        db = sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None, check_same_thread=False)
        db.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error as error:
        raise ConnectorError(path, f"{error}; its directory must exist and be writable") from error
    return db


def create(db: sqlite3.Connection) -> None:
    """Make the tables that are missing. Raises sqlite3.OperationalError, also where another is just doing the same."""
    db.execute("PRAGMA journal_mode = WAL")  # readers wait for no writer
    db.executescript(SCHEMA)


@contextlib.contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit what the block does, all of it or, where it raises, nothing. Raises sqlite3.OperationalError if busy."""
    db.execute("BEGIN IMMEDIATE")
    with db:
        yield


def is_busy(error: sqlite3.Error) -> bool:
    """Whether another process has the lock: the same call succeeds later."""
    return getattr(error, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def patiently(body: Callable[[], T], until_s: Callable[[], float]) -> T:
    """Return what ``body`` does, which is tried again while the database is busy; raises ConnectorError.

    Blocks until the monotonic clock has passed ``until_s()``, which is asked at each failure.
    """
    while True:
        try:
            return body()
        except sqlite3.Error as error:
            if not is_busy(error) or time.monotonic() >= until_s():
                raise ConnectorError("sqlite", str(error)) from error
        time.sleep(_RETRY_S)


def headers_to_text(headers: Headers) -> str:
    """Return headers as a JSON list of pairs; any bytes, null values and repeated names come back as they were."""
    return json.dumps([(name, None if value is None else value.decode("utf-8", _ANY)) for name, value in headers])


def headers_of_text(text: bytes) -> Headers:
    """Return the headers that ``headers_to_text``, or anybody with an SQL prompt, wrote; raises ValueError."""
    try:
        pairs = msgspec.convert(json.loads(text), _Pairs)
        return [(name, None if value is None else value.encode("utf-8", _ANY)) for name, value in pairs]
    except (TypeError, RecursionError, msgspec.ValidationError) as error:
        raise ValueError(str(error)) from error
