"""What an earlier life of a worker left in the states topic, read once, while the worker starts."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

from pipeline.control import encoding
from pipeline.errors import Undecodable
from pipeline.records import ServableState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipeline.control.logs import Logs

log = logging.getLogger(__name__)


class Recovery:
    """Reads the rows of one worker on a thread of its own, and hands them over once, from that thread.

    A broker that is away, or a topic that does not exist yet, is waited for, and holds up nobody. Where the topic can
    never be read (a missing permission) nothing is handed over but an empty set, with a warning.
    """

    def __init__(
        self,
        logs: Logs,
        topic: str,
        worker: str,
        on_recovered: Callable[[Iterable[ServableState]], None],
    ) -> None:
        self._topic, self._worker, self._on_recovered = topic, worker, on_recovered
        self._rows: dict[bytes, ServableState] = {}
        self._done = threading.Event()
        self._reader = logs.reader(
            topic, worker, on_record=self._on_record, on_fatal=self._on_fatal, on_caught_up=self._on_caught_up
        )

    def start(self) -> None:
        """Begin; called once."""
        self._reader.start()

    def finish(self, timeout_s: float) -> None:
        """Wait until it is done, ``timeout_s`` at most, and give up then. Idempotent."""
        self._done.wait(timeout_s)
        self._reader.stop(1.0)

    def _on_record(self, key: bytes | None, value: bytes | None, _partition: int, _offset: int) -> None:
        if key is None or not key.startswith(f"{self._worker}/".encode()):
            return
        self._rows.pop(key, None)
        if value is None:
            return
        try:
            record = encoding.decode_state(value)
        except Undecodable as error:
            log.warning("topic %s: the row %r of an earlier life is left as it is: %s", self._topic, key, error)
            return
        if isinstance(record, ServableState):
            self._rows[key] = record

    def _on_caught_up(self) -> None:
        self._on_recovered(self._rows.values())
        self._done.set()
        self._reader.stop()

    def _on_fatal(self, error: Exception) -> None:
        log.warning("rows of an earlier life may be left in the states topic: %s", error)
        self._on_recovered(())
        self._done.set()
