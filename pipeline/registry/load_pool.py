"""The pool that versions are loaded on, whose threads give way to those that answer requests."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_TASKS: Final = Path("/proc/self/task")
_NICEST: Final = 19


class LoadPool(ThreadPoolExecutor):
    """Runs loads at normal priority until ``give_way``, and ``niceness`` below it from then on.

    A framework compiles on threads that it starts meanwhile; on Linux these inherit the niceness. Some of them stay, to
    answer requests later: when no load runs any more they get their priority back, where the system permits that (it
    takes CAP_SYS_NICE or an RLIMIT_NICE; without them they stay as they are). Elsewhere than on Linux, and with
    ``niceness`` 0, a load has the priority of everything else. A load never fails because of this.
    """

    def __init__(self, threads: int, niceness: int) -> None:
        super().__init__(threads, "penstock-load")
        self._priority = _LowerPriority(niceness)
        self._is_giving_way = False

    def give_way(self) -> None:
        """Let loads that begin from now on give way: requests are being answered. Any thread; idempotent."""
        self._is_giving_way = self._priority.can_be_set

    def submit(self, job: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See Executor."""
        return super().submit(self._run, partial(job, *args, **kwargs))

    def _run(self, job: Callable[[], T]) -> T:
        if not self._is_giving_way:
            return job()
        with self._priority.lowered():
            return job()


class _LowerPriority:
    """Lowers the priority of several threads at a time, and gives it back to what they have started."""

    def __init__(self, niceness: int) -> None:
        self.can_be_set = niceness > 0 and sys.platform == "linux"
        if self.can_be_set:
            self._normal = os.getpriority(os.PRIO_PROCESS, os.getpid())  # the main thread's, which nobody lowers
            self._low = min(self._normal + niceness, _NICEST)
        self._lock = threading.Lock()
        self._running = 0
        self._before: frozenset[int] = frozenset()

    @contextmanager
    def lowered(self) -> Iterator[None]:
        """Lower the calling thread for as long as the block runs."""
        thread = threading.get_native_id()
        with self._lock:
            if not self._running:
                self._before = _threads()
            self._running += 1
        _change(thread, self._normal, self._low)
        try:
            yield
        finally:
            _change(thread, self._low, self._normal)
            with self._lock:  # held to the end: a load that begins now is not to be taken for what this one has started
                self._running -= 1
                for other in frozenset() if self._running else _threads() - self._before:
                    _change(other, self._low, self._normal)


def _threads() -> frozenset[int]:
    """Return the ids of this process's threads, none where the system does not show them."""
    try:
        return frozenset(int(task.name) for task in _TASKS.iterdir())
    except OSError:
        return frozenset()


def _change(thread: int, old: int, new: int) -> None:
    """Set a thread's niceness to ``new`` where it is ``old``, the thread is still there and the system permits it."""
    with suppress(OSError):
        if os.getpriority(os.PRIO_PROCESS, thread) == old:
            os.setpriority(os.PRIO_PROCESS, thread, new)
