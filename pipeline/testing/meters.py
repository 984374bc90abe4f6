"""What a call has cost: bytes read, bytes allocated."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def bytes_read() -> int:
    """Return how many bytes this thread has read so far, always 0 where the system does not count them."""
    counters = Path("/proc/thread-self/io")
    return int(counters.read_text().split()[1]) if counters.exists() else 0


@contextmanager
def counting_allocations() -> Iterator[Callable[[], int]]:
    """Yield what returns the bytes that Python has allocated since, and not freed."""
    was_tracing = tracemalloc.is_tracing()
    tracemalloc.start()
    gc.collect()
    before_bytes = tracemalloc.get_traced_memory()[0]

    def allocated_bytes() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before_bytes

    try:
        yield allocated_bytes
    finally:
        if not was_tracing:
            tracemalloc.stop()
