"""The records that a source has to publish: the last one of each stream, in order, again until it is accepted."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from pipeline.errors import ConnectorError
from pipeline.records import AspiredVersions

logger = logging.getLogger(__name__)

_RETRY_S: Final = 1.0


class Outbox:
    """Whoever looks at storage puts records in and goes on; ``publish`` may block for as long as the broker is away.

    A record that says what the accepted one before it said is dropped; one that could not be published is replaced by
    the next one of its stream. Any thread may ``put``; either ``start`` a thread that publishes, or call ``flush``.
    """

    def __init__(self, publish: Callable[[AspiredVersions], None], retry_s: float = _RETRY_S) -> None:
        self._publish = publish
        self._retry_s = retry_s
        self._changed = threading.Condition()
        self._pending: dict[str, AspiredVersions] = {}
        self._accepted: dict[str, AspiredVersions] = {}
        self._problem: str | None = None
        self._is_stopping = False
        self._thread: threading.Thread | None = None

    def put(self, record: AspiredVersions) -> None:
        """Have a record published; returns at once."""
        with self._changed:
            accepted = self._accepted.get(record.stream)
            if accepted is not None and _says(accepted) == _says(record):
                self._pending.pop(record.stream, None)
            else:
                self._pending[record.stream] = record
                self._changed.notify_all()

    def flush(self) -> bool:
        """Publish what is there, each record once; whether all were accepted. Blocks; never raises."""
        with self._changed:
            streams = list(self._pending)
        accepted = [self._try(stream) for stream in streams]
        return all(accepted)

    def start(self) -> None:
        """Publish on a thread until ``stop``."""
        self._thread = threading.Thread(target=self._run, name="penstock-aspire", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Publish no further record; wait for the one that is under way, at most ``timeout_s``."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._pending or self._is_stopping)
                if self._is_stopping:
                    return
            if not self.flush():
                with self._changed:
                    self._changed.wait_for(lambda: self._is_stopping, self._retry_s)

    def _try(self, stream: str) -> bool:
        with self._changed:
            record = self._pending.pop(stream, None)
            if record is None or self._is_stopping:
                return True
            # Until the broker has answered, nobody knows what it has.
            self._accepted.pop(stream, None)
        try:
            self._publish(record)
        except Exception as error:  # noqa: BLE001  # whatever a publisher raises, the record is kept
            self._keep(record, error)
            return False
        with self._changed:
            self._accepted[stream] = record
            self._problem = None
            pending = self._pending.get(stream)
            if pending is not None and _says(pending) == _says(record):
                del self._pending[stream]
        numbers = ", ".join(str(version.version) for version in record.versions) or "nothing"
        logger.info("servable stream %s aspires to %s", stream, numbers)
        return True

    def _keep(self, record: AspiredVersions, error: Exception) -> None:
        with self._changed:
            self._pending.setdefault(record.stream, record)
            is_news, self._problem = self._problem != str(error), str(error)
        if is_news:
            trace = None if isinstance(error, ConnectorError) else error
            logger.warning("servable stream %s is not published yet: %s", record.stream, error, exc_info=trace)


def _says(record: AspiredVersions) -> object:
    return record.versions, record.kind
