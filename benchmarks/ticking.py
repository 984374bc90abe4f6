"""How long at a time a process kept its other threads waiting."""

from __future__ import annotations

import threading
import time
from typing import Final, Self

_TICK_S: Final = 0.001


class Ticking:
    """A thread that wants to run every millisecond, from ``with`` to its end; ``longest_ms`` is its longest wait.

    That is the longest time that the GIL was held, and whatever else kept the thread: on a busy machine, the others.
    """

    def __init__(self) -> None:
        self.longest_ms = 0.0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        last_s = time.perf_counter()
        while not self._is_over.is_set():
            time.sleep(_TICK_S)
            now_s = time.perf_counter()
            self.longest_ms = max(self.longest_ms, 1000 * (now_s - last_s - _TICK_S))
            last_s = now_s
