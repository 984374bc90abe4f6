"""Memory that native code has freed, given back to the system."""

from __future__ import annotations

import ctypes
import os
import threading
import time
from typing import Final

# Of the time that goes by, so much at most is spent on it, and so much at once after a quiet time.
_SHARE: Final = 0.1
_AT_ONCE_S: Final = 0.1
# mallopt(3): the numbers of its parameters, and the largest threshold that it takes.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_LARGEST_BYTES: Final = 32 << 20
_ON_TOP_BYTES: Final = 16 << 20


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


def keep_large_blocks() -> None:
    """Let the C library use freed blocks of up to 32 MiB again, instead of asking the system for each anew.

    GNU's asks for blocks above 128 kB, and each page of them is a fault, which is three quarters of the time in which
    ONNX Runtime loads; it raises that limit by itself to the largest block that has been freed. Does nothing where it
    is another library, or where the environment says how it shall be. For a process that loads models, before it does.
    """
    says = os.environ.get("GLIBC_TUNABLES", "")
    if "MALLOC_MMAP_THRESHOLD_" in os.environ or "glibc.malloc.mmap_threshold" in says:
        return
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _ON_TOP_BYTES)


# Of the one heap that a process has.
give_back: Final = _Heap().give_back
