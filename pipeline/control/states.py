"""Writing to the servable-states topic: what this worker did with each version, and that it is alive."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

import msgspec

from pipeline.control import encoding
from pipeline.control.rows import Change, Rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.clock import Clock
    from pipeline.control.logs import Logs
    from pipeline.records import ServableState, WorkerState

log = logging.getLogger(__name__)


class StatePublisher:
    """Called with each state of this worker; returns at once, and publishes in the order of the calls.

    Everything is held until ``recovered`` has been called with the rows that the worker has in the topic: what it says
    comes after what has to be said about its earlier life. Usable from any thread. The broker may be away: states wait
    for it. What the broker refuses is logged, see Outbox: a worker that can not tell still serves. Raises
    ConnectorError at once for settings that are none.
    """

    def __init__(self, logs: Logs, topic: str, worker: str, clock: Clock) -> None:
        self._topic, self._worker, self._clock = topic, worker, clock
        self._key = worker.encode()  # of its signs of life
        self._lock = threading.Lock()
        self._rows = Rows(worker)
        self._encoder = encoding.WorkerEncoder()
        self._held: list[ServableState] = []
        self._is_recovered = False
        self._is_beat_in_flight = False
        self._outbox = logs.outbox(topic, worker, self._on_done)

    def recovered(self, found: Iterable[ServableState]) -> None:
        """Say what an earlier life could not, then all that was held. Called once."""
        with self._lock:
            self._produce(self._rows.recover(found, self._clock.unix_ms()))
            held, self._held, self._is_recovered = self._held, [], True
            for state in held:
                self._produce(self._rows.take(state))
        self._outbox.poll()

    def __call__(self, state: ServableState) -> None:
        """Publish one state; the time is filled in where it is empty, the worker's name always. Never raises."""
        stamped = msgspec.structs.replace(state, worker=self._worker, at_ms=state.at_ms or self._clock.unix_ms())
        with self._lock:
            if self._is_recovered:
                self._produce(self._rows.take(stamped))
            else:
                self._held.append(stamped)
        self._outbox.poll()

    def beat(self, sign: WorkerState) -> bool:
        """Publish a sign of life; False where the one before has not been accepted yet, and this one is left out."""
        self._outbox.poll()
        with self._lock:
            if not self._is_recovered or self._is_beat_in_flight:
                return False
            self._is_beat_in_flight = True
            self._outbox.send(*self._encoder.encode(sign))
        return True

    def leave(self) -> None:
        """Remove the sign of life: this worker stops in good order. Never raises."""
        with self._lock:
            self._outbox.send(self._key, encoding.TOMBSTONE)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is published, ``timeout_s`` at most; False, and a line in the log, where something is not."""
        waiting = self._outbox.flush(timeout_s) + len(self._held)
        if waiting:
            log.warning("topic %s: %d states were not published within %.1f s", self._topic, waiting, timeout_s)
        return not waiting

    def close(self) -> None:
        """Let go of the connection; what was not published never will be. Idempotent."""
        self._outbox.close()

    def _produce(self, changes: Iterable[Change]) -> None:
        for key, row in changes:
            self._outbox.send(key.encode(), encoding.TOMBSTONE if row is None else encoding.encode_state(row)[1])

    def _on_done(self, key: bytes) -> None:
        if key == self._key:
            self._is_beat_in_flight = False
