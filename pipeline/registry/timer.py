"""Calls that are due later, all on one thread: what a wait between two tries costs nobody."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from collections.abc import Callable
from typing import Protocol

from pipeline.clock import Clock

logger = logging.getLogger(__name__)


class Timer(Protocol):
    """Makes calls later."""

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Callable[[], None]:
        """Make ``call`` after ``delay_s`` seconds, and return what cancels it. The call must be short."""
        ...

    def stop(self) -> None:
        """Drop all that is still due."""
        ...


class ThreadTimer:
    """One daemon thread, started by the first call; it ends when it is stopped. A call that raises is logged."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._due: list[tuple[float, int, list[Callable[[], None]]]] = []
        self._number = itertools.count()
        self._thread: threading.Thread | None = None
        self._is_stopped = False

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Callable[[], None]:
        """See Timer. After ``stop`` nothing is ever called."""
        slot = [call]
        with self._changed:
            if not self._is_stopped:
                heapq.heappush(self._due, (self._clock.monotonic_s() + delay_s, next(self._number), slot))
                if self._thread is None:
                    self._thread = threading.Thread(target=self._run, name="penstock-timer", daemon=True)
                    self._thread.start()
                self._changed.notify()
        return slot.clear  # a cancelled slot is empty: it holds nothing alive until it is due

    def stop(self) -> None:
        """See Timer. Does not wait for a call that is running."""
        with self._changed:
            self._is_stopped = True
            self._due.clear()
            self._changed.notify()

    def _run(self) -> None:
        while (slot := self._next()) is not None:
            _make(slot)
            del slot  # what is done must not be kept alive until the next is due

    def _next(self) -> list[Callable[[], None]] | None:
        with self._changed:
            while not self._is_stopped:
                wait_s = self._due[0][0] - self._clock.monotonic_s() if self._due else None
                if wait_s is not None and wait_s <= 0:
                    slot = heapq.heappop(self._due)[2]
                    if slot:
                        return slot
                    continue
                self._changed.wait(wait_s)
        return None


def _make(slot: list[Callable[[], None]]) -> None:
    """Make the call of a slot, which may have been cancelled at the last moment and is empty then."""
    try:
        for call in tuple(slot):
            call()
    except Exception:
        logger.exception("a timer's call failed")
