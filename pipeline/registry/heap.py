"""Memory that native code has freed, given back to the system."""

from __future__ import annotations

import ctypes
import threading
import time
from typing import Final

# Of the time that goes by, so much at most is spent on it, and so much at once after a quiet time.
_SHARE: Final = 0.1
_AT_ONCE_S: Final = 0.1


class _Heap:
    """What the C library keeps of freed memory. Thread-safe."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._left_s = _AT_ONCE_S
        self._seen_s = time.monotonic()

    def give_back(self) -> None:
        """Let the C library return what it keeps of freed memory; does nothing where it is not GNU's.

        For the end of a load, which leaves as much as the model again (what was parsed, weights as they were before
        they were packed), and of an unload: many small pieces, which GNU's library keeps for the next. Blocks for some
        milliseconds a gigabyte, without the GIL, more where the memory is in pieces. Of many in a row only some do it,
        so that it takes a tenth of their time at most; what the last ones leave goes with the next.
        """
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is None or not self._turn.acquire(blocking=False):
            return
        try:
            started_s = time.monotonic()
            self._left_s = min(_AT_ONCE_S, self._left_s + _SHARE * (started_s - self._seen_s))
            self._seen_s = started_s
            if self._left_s > 0.0:
                trim(0)
                self._left_s -= time.monotonic() - started_s
        finally:
            self._turn.release()


# Of the one heap that a process has.
give_back: Final = _Heap().give_back
