"""Running in the foreground until somebody says stop."""

from __future__ import annotations

import signal
import threading
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def until_stopped() -> Iterator[threading.Event]:
    """Yield an event that SIGINT and SIGTERM set, instead of what they did before. On the main thread only."""
    stopped = threading.Event()
    # A handler must not set an Event: the main thread may be inside its wait, and hold its lock. A SimpleQueue is made
    # for handlers, so one carries the word to a thread that may.
    words: SimpleQueue[None] = SimpleQueue()

    def pass_on() -> None:
        words.get()
        stopped.set()

    messenger = threading.Thread(target=pass_on, name="penstock-signals", daemon=True)
    messenger.start()
    before = {number: signal.signal(number, lambda *_: words.put(None)) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        words.put(None)
        messenger.join()
