"""Memory that native code has freed, given back to the system."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Let the C library return what it keeps of freed memory; does nothing where it is not GNU's.

    For the end of an unload: a model's weights are many small pieces, which GNU's library keeps for the next. Blocks
    for some milliseconds a gigabyte, without the GIL.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
