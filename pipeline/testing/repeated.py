"""Something that goes on beside a test."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager


@contextmanager
def repeated(step: Callable[[], object]) -> Iterator[None]:
    """Call ``step`` again and again, on a thread of its own, until the ``with`` block ends; a call is finished first.

    What a call raises ends the repetition, and is raised at the end of the block, unless that raises something itself.
    """
    is_over = threading.Event()

    def run() -> None:
        while not is_over.is_set():
            step()

    with ThreadPoolExecutor(1, "repeated") as pool:
        running = pool.submit(run)
        try:
            yield
        finally:
            is_over.set()
        running.result()
