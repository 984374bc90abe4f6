"""ReaderThread: what steps a log reader until it is stopped, whatever its broker."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.control.logs import OnFatal

log = logging.getLogger(__name__)


class ReaderThread(threading.Thread):
    """Calls ``step`` again and again, and ``close`` at its end; ``on_fatal`` gets what ``step`` raises.

    ``is_stopping`` is set by ``stop``; a step that waits can wait for it.
    """

    def __init__(self, topic: str, step: Callable[[], None], close: Callable[[], None], on_fatal: OnFatal) -> None:
        super().__init__(name=f"{topic}-reader", daemon=True)
        self._topic, self._step, self._close, self._on_fatal = topic, step, close, on_fatal
        self.is_stopping = threading.Event()

    def run(self) -> None:
        """See Thread."""
        try:
            while not self.is_stopping.is_set():
                self._step()
        except Exception as error:  # noqa: BLE001  # a dead reader must take the worker down, whatever killed it
            self._on_fatal(error)
        finally:
            self._close()

    def stop(self, timeout_s: float) -> None:
        """Stop and wait, ``timeout_s`` at most. Idempotent; may be called without ``start``."""
        self.is_stopping.set()
        if self.is_alive() and self is not threading.current_thread():
            self.join(timeout_s)
            if self.is_alive():
                log.warning("%s: the reader is still busy after %g s; it is left behind", self._topic, timeout_s)
