"""Signs of life: a worker says that it is alive and how far it has followed each stream, at once and then steadily."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

from pipeline.records import StreamState, WorkerState

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.clock import Clock

log = logging.getLogger(__name__)

# At least this long between two signs of life, however much changes; and between two looks at what is not settled.
_QUIET_S: Final = 0.1
# And this many times as long as the last one took: a thousand streams that load at once keep the time for themselves.
_QUIET_PER_BUSY: Final = 9


class Heartbeat:
    """Publishes the state of one worker when something has changed, and each ``interval_s`` otherwise.

    ``look`` returns how far the worker is with a stream, None where it does not serve it any more. Only streams that
    were ``touched``, or were not settled at the last look, are looked at: that keeps a thousand idle streams free of
    charge. ``publish`` must not block; where it returns False the same is tried again soon. ``start`` makes steps on a
    thread of its own; a test makes them by hand.
    """

    def __init__(
        self,
        worker: str,
        look: Callable[[str], StreamState | None],
        publish: Callable[[WorkerState], bool],
        clock: Clock,
        interval_s: float,
    ) -> None:
        self._worker, self._look, self._publish = worker, look, publish
        self._clock, self._interval_s = clock, interval_s
        self._started_at_ms = clock.unix_ms()
        self._lock = threading.Lock()
        self._touched: set[str] = set()
        self._streams: dict[str, StreamState] = {}
        self._moving: set[str] = set()
        self._is_unpublished = True
        self._due_s = clock.monotonic_s()
        self._woken = threading.Event()
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run, name="penstock-heartbeat", daemon=True)

    def touch(self, stream: str) -> None:
        """Say that something about a stream may have changed. Never blocks; any thread."""
        with self._lock:
            self._touched.add(stream)
        self._woken.set()

    def step(self) -> float:
        """Look, publish where that is due, and return after how many seconds to step again unless woken."""
        with self._lock:
            touched, self._touched = self._touched | self._moving, set()
        for stream in touched:
            self._take(stream, self._look(stream))
        now_s = self._clock.monotonic_s()
        if self._is_unpublished or now_s >= self._due_s:
            self._is_unpublished = not self._publish(self._sign())
            self._due_s = now_s + self._interval_s
        return _QUIET_S if self._is_unpublished or self._moving else max(0.0, self._due_s - now_s)

    def start(self) -> None:
        """Make steps on a thread until ``stop``; called once."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Make no further step; waits for the one that is running. Idempotent."""
        self._is_stopping = True
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        pause = threading.Event()  # never set: between two signs of life nothing wakes
        while not self._is_stopping:
            self._woken.clear()
            began_s = self._clock.monotonic_s()
            try:
                wait_s = self.step()
            except Exception:
                log.exception("a sign of life failed")
                wait_s = self._interval_s
            busy_s = self._clock.monotonic_s() - began_s
            quiet_s = min(self._interval_s, max(_QUIET_S, _QUIET_PER_BUSY * busy_s))
            pause.wait(quiet_s)
            self._woken.wait(max(0.0, wait_s - quiet_s))

    def _take(self, stream: str, state: StreamState | None) -> None:
        if state is not None and state.generation >= 0 and not state.is_settled:
            self._moving.add(stream)
        else:
            self._moving.discard(stream)
        if state == self._streams.get(stream):
            return
        self._is_unpublished = True
        if state is None:
            del self._streams[stream]
        else:
            self._streams[stream] = state

    def _sign(self) -> WorkerState:
        return WorkerState(
            self._worker,
            self._started_at_ms,
            self._clock.unix_ms(),
            int(self._interval_s * 1000),
            tuple(self._streams[stream] for stream in sorted(self._streams)),
        )
