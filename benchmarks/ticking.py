"""How long at a time a process kept its other threads waiting."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from pipeline.testing.repeated import repeated

_TICK_S: Final = 0.001


class Ticking:
    """What wants to run every millisecond; ``longest_ms`` is its longest wait so far.

    That is the longest time that the GIL was held, and whatever else kept the thread: on a busy machine, the others.
    """

    def __init__(self) -> None:
        self.longest_ms = 0.0
        self._last_s: float | None = None

    def step(self) -> None:
        """Wait for the next tick. For one thread, which does nothing else."""
        last_s = time.perf_counter() if self._last_s is None else self._last_s
        time.sleep(_TICK_S)
        self._last_s = time.perf_counter()
        self.longest_ms = max(self.longest_ms, 1000 * (self._last_s - last_s - _TICK_S))


@contextmanager
def ticking() -> Iterator[Ticking]:
    """Yield one that ticks, on a thread of its own, until the end of the ``with`` block."""
    it = Ticking()
    with repeated(it.step):
        yield it
