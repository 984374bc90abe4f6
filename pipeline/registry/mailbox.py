"""Steps that never overlap, without a thread of their own and without a lock held while they run."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable

logger = logging.getLogger(__name__)

Step = Callable[[], None]


class Mailbox:
    """Runs steps one after the other, in the order in which they came.

    Whoever finds it idle runs its own step, and those that others put meanwhile; a step may put another one from
    inside. After each step ``after_step`` is called, and ``on_idle`` when none is left. A step that raises is logged.
    """

    def __init__(self, name: str, after_step: Step, on_idle: Step) -> None:
        self._name = name
        self._after_step = after_step
        self._on_idle = on_idle
        self._lock = threading.Lock()
        self._steps: deque[Step] = deque()
        self._is_running = False

    def put(self, step: Step) -> None:
        """Leave a step for ``run``; never blocks."""
        with self._lock:
            self._steps.append(step)

    def run(self) -> None:
        """Run what is there, unless another thread, or a caller further up, is doing so."""
        with self._lock:
            if self._is_running:
                return
            self._is_running = True
        while (step := self._next()) is not None:
            try:
                step()
                self._after_step()
            except Exception:
                logger.exception("a step of %s failed", self._name)
        self._on_idle()

    def tell(self, step: Step) -> None:
        """Put a step and run it, or leave it to whoever is running."""
        self.put(step)
        self.run()

    def is_idle(self) -> bool:
        """Whether no step is running or waiting. Never blocks."""
        with self._lock:
            return not self._is_running and not self._steps

    def _next(self) -> Step | None:
        with self._lock:
            if self._steps:
                return self._steps.popleft()
            self._is_running = False
            return None
