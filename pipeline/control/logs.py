"""Logs: the control records' place at a broker, a compacted topic of Kafka for instance. The contract, and the choice.

A log has the last record of every key; a record without a value (a tombstone) forgets its key. Each record has a
generation, which grows with every record of the log and is the same for all readers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from pipeline.errors import ConnectorError

if TYPE_CHECKING:
    import threading

    from pipeline.settings import Settings

# Key, value (None is a tombstone), partition, offset, which is the record's generation.
OnRecord = Callable[[bytes | None, bytes | None, int, int], None]
OnFatal = Callable[[Exception], None]


def _ignore() -> None:
    """Do nothing."""


class LogReader(Protocol):
    """Calls ``on_record`` for the records of a log, from its beginning and then as they come, until it is stopped.

    ``start`` runs it on a thread of its own, and the callbacks with it; a test, or a reader that wants an end, calls
    ``step`` instead. A record may be seen again, so ``on_record`` must be idempotent. ``on_caught_up`` is called once,
    before ``caught_up`` is set: when all that the log held at the start has been delivered. A broker that is away is
    waited for, and logged once.

    ``on_fatal`` is called once, with a ConnectorError for what does not heal by itself (a missing permission), or with
    whatever ``on_record`` raised; after it nothing more is read.
    """

    caught_up: threading.Event

    @property
    def problem(self) -> str | None:
        """Why the log can not be read at this moment, and the next step; None while all is well. Any thread."""
        ...

    def start(self) -> None:
        """Read on a thread until ``stop``; called once."""
        ...

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop and wait for the thread, ``timeout_s`` at most. Idempotent; may be called without ``start``."""
        ...

    def step(self, timeout_s: float = 0.2) -> None:
        """Deliver what is there; wait for the first record only, about ``timeout_s``.

        Raises ConnectorError for what does not heal by itself.
        """
        ...

    def close(self) -> None:
        """Let go of the connection; for callers of ``step``, on their thread."""
        ...


class LogWriter(Protocol):
    """Writes records in the order of the calls. Any thread may call; connects on first use."""

    def write(self, key: bytes, value: bytes | None, timeout_s: float) -> int:
        """Return the generation of the record once the broker has accepted it.

        Blocks for ``timeout_s`` at most, after those who called before. Raises ConnectorError, and the record is then
        given up, so that it can not arrive after later ones. (One that was on its way when the broker went may have
        arrived.)
        """
        ...

    def close(self, timeout_s: float) -> None:
        """Let go of the connection, ``timeout_s`` at most. Idempotent; a later ``write`` connects anew."""
        ...


class Outbox(Protocol):
    """Writes records without having anybody wait, each key's in the order of the calls. Any thread may call.

    The broker may be away: records wait for it. What it refuses is logged; over Redis it is kept and tried again, over
    Kafka it is given up.
    """

    def send(self, key: bytes, value: bytes | None) -> None:
        """Take a record. Never blocks, never raises."""
        ...

    def poll(self) -> None:
        """Do what has become due. Never blocks; to be called now and then."""
        ...

    def flush(self, timeout_s: float) -> int:
        """Wait until all is written, ``timeout_s`` at most; return how many records are not."""
        ...

    def close(self) -> None:
        """Let go of the connection, and of what still waits. Idempotent."""
        ...


class Logs(Protocol):
    """The logs of one broker. Nothing is connected by any of these."""

    def reader(
        self,
        topic: str,
        client_id: str,
        *,
        on_record: OnRecord,
        on_fatal: OnFatal,
        on_caught_up: Callable[[], None] = _ignore,
        log_level: int = logging.WARNING,
    ) -> LogReader:
        """Return a reader of one log; ``log_level`` is that of outages."""
        ...

    def writer(self, topic: str, client_id: str) -> LogWriter:
        """Return a writer to one log."""
        ...

    def outbox(self, topic: str, client_id: str, on_done: Callable[[bytes], None]) -> Outbox:
        """Return an outbox to one log; ``on_done`` is called with a key when its record is written, or given up.

        Raises ConnectorError at once for settings that are none.
        """
        ...


def logs_of(settings: Settings) -> Logs:
    """Return the logs at the broker that the settings name for the control records."""
    if settings.control.connector == "redis":
        from pipeline.control.redis_logs import RedisLogs  # noqa: PLC0415  # its client is an extra

        return RedisLogs(settings.redis)
    from pipeline.control.kafka_logs import KafkaLogs  # noqa: PLC0415  # not loaded where there is no Kafka

    return KafkaLogs(settings.kafka)


def read_all(logs: Logs, topic: str, timeout_s: float = 10.0) -> dict[bytes, bytes]:
    """Return the last value of each key that the log holds now, without those that were forgotten.

    Blocks until the end is reached; raises ConnectorError when that takes longer than ``timeout_s``, saying why.
    """
    latest: dict[bytes, bytes] = {}

    def on_record(key: bytes | None, value: bytes | None, _partition: int, _offset: int) -> None:
        if value is None:
            latest.pop(key or b"", None)
        else:
            latest[key or b""] = value

    reader = logs.reader(topic, "penstock", on_record=on_record, on_fatal=lambda _error: None, log_level=logging.DEBUG)
    deadline = time.monotonic() + timeout_s
    try:
        while not reader.caught_up.is_set():
            if time.monotonic() > deadline:
                raise ConnectorError(f"topic {topic}", reader.problem or f"not read within {timeout_s:g} s")
            reader.step()
    finally:
        reader.close()
    return latest
