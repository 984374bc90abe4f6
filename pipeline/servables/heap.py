"""Memory that native code has freed, given back to the system."""

from __future__ import annotations

import ctypes
import threading
import time
from typing import Final

# Of the time that goes by, so much at most is spent on it, as one part in so many.
_SHARE: Final = 10


class _Heap:
    """What the C library keeps of freed memory. Thread-safe."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._next_s = 0.0

    def give_back(self) -> None:
        """Let the C library return what it keeps of freed memory; does nothing where it is not GNU's.

        For the end of an unload: a model's weights are many small pieces, which GNU's library keeps for the next.
        Blocks for some milliseconds a gigabyte, without the GIL, more where the memory is in pieces. Of many unloads in
        a row only some do it, so that it takes a tenth of their time at most; what the last ones leave goes with the
        next unload.
        """
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is None or time.monotonic() < self._next_s or not self._turn.acquire(blocking=False):
            return
        try:
            started_s = time.monotonic()
            trim(0)
            ended_s = time.monotonic()
            self._next_s = ended_s + (_SHARE - 1) * (ended_s - started_s)
        finally:
            self._turn.release()


# Of the one heap that a process has.
give_back: Final = _Heap().give_back
