"""What a call has cost: bytes read, bytes allocated."""

from __future__ import annotations

import gc
import resource
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


@contextmanager
def counting_peak() -> Iterator[Callable[[], int]]:
    """Yield what returns how many bytes of Python's were allocated at most at a time since it was last called."""
    was_tracing = tracemalloc.is_tracing()
    tracemalloc.start()
    before_bytes = tracemalloc.get_traced_memory()[0]

    def peak_bytes() -> int:
        nonlocal before_bytes
        now_bytes, most_bytes = tracemalloc.get_traced_memory()
        before_bytes, since_bytes = now_bytes, most_bytes - before_bytes
        tracemalloc.reset_peak()
        return since_bytes

    try:
        yield peak_bytes
    finally:
        if not was_tracing:
            tracemalloc.stop()


@contextmanager
def at_most_more(size_bytes: int) -> Iterator[None]:
    """Let this process have ``size_bytes`` more than it has: beyond, allocating fails, and the machine lives.

    For the duration of the block, where the system tells how much the process has; elsewhere there is no limit.
    """
    pages = Path("/proc/self/statm")
    if not pages.exists():
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    has_bytes = int(pages.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (has_bytes + size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
