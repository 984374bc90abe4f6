"""Changes of directories, told by the kernel through watchfiles: one thread for all base paths."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Hashable, Iterable
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

Directory = tuple[str, int]  # its real path and its inode: one that was made anew is another

# Each step the library looks for what the kernel has told, with Python's lock: steps of 15 ms were a third of what an
# idle worker computed.
_STEP_MS: Final = 50
_DEBOUNCE_MS: Final = 150
# How soon the thread sees that something else is wanted: a wait that is cut short would lose what has been told.
_TIMEOUT_MS: Final = 100
# Between two set-ups of the kernel's watches, which start from nothing.
_PAUSE_S: Final = 0.05
_RETRY_S: Final = 30.0


class Notifier(Generic[K]):
    """Calls ``on_change(key)`` soon after something has changed directly in one of the directories that a key wants.

    A safety net is still needed: some changes are not told, and where the kernel refuses more watches none is. Which
    directories these are is for the caller to find out, on a thread that may hang: what is wanted here has just been
    looked at and lies on a file system that answers from memory, so that no hung mount can stop this thread. Links are
    not followed, and nothing below the directories is watched.
    """

    def __init__(self, on_change: Callable[[K], None]) -> None:
        self._on_change = on_change
        self._changed = threading.Condition()
        self._wanted: dict[K, frozenset[Directory]] = {}
        self._watched: frozenset[Directory] = frozenset()
        self._is_stale = False
        self._stopping = threading.Event()
        self._problem: str | None = None
        self._thread: threading.Thread | None = None

    def want(self, key: K, directories: frozenset[Directory]) -> bool:
        """Watch these for a key, instead of those before; whether all of them are watched already. Any thread."""
        with self._changed:
            if self._wanted.get(key, frozenset()) != directories:
                self._wanted[key] = directories
                self._is_stale = True
                self._changed.notify_all()
            return bool(directories) and directories <= self._watched

    def forget(self, key: K) -> None:
        """Watch nothing for a key any more. Any thread."""
        with self._changed:
            if self._wanted.pop(key, None):
                self._is_stale = True
                self._changed.notify_all()

    def start(self) -> None:
        """Watch on a thread until ``stop``."""
        self._thread = threading.Thread(target=self._run, name="penstock-notify", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Tell no more; wait for the thread, at most ``timeout_s``."""
        with self._changed:
            self._stopping.set()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        watch: Any = None
        while not self._stopping.is_set():
            if self._is_stale:
                watch = self._renew(watch)
            if watch is None:
                with self._changed:
                    self._changed.wait_for(self._is_needed, _RETRY_S if self._problem else None)
                    self._is_stale = self._is_stale or bool(self._problem)
                continue
            self._pass_on(watch.watch(_DEBOUNCE_MS, _STEP_MS, _TIMEOUT_MS, self._stopping))
        if watch is not None:
            watch.close()

    def _renew(self, before: Any) -> Any:
        """Return a watch over what is wanted now. The one before ends after it has begun, so that nothing is missed."""
        from watchfiles._rust_notify import RustNotify  # noqa: PLC0415  # documented for direct use; loads a library

        with self._changed:
            self._changed.wait_for(self._stopping.is_set, _PAUSE_S)
            self._is_stale = False
            wanted = dict(self._wanted)
        known, directories = self._watched, frozenset().union(*wanted.values())
        watch = None
        try:
            there = [path for path, _ in directories if Path(path).is_dir()]
            if there:
                watch = RustNotify(
                    there,
                    debug=False,
                    force_polling=False,
                    poll_delay_ms=0,
                    recursive=False,
                    ignore_permission_denied=True,
                )
            self._problem = None
        except Exception as error:  # noqa: BLE001  # the library raises several kinds; polling goes on in any case
            self._report(str(error))
            directories = frozenset()
        with self._changed:
            self._watched = directories
        if before is not None:
            self._pass_on(before.watch(_STEP_MS, 1, _STEP_MS, self._stopping))
            before.close()
        for key, those in wanted.items():
            if not those <= known:  # what has changed between the look and now was told to nobody
                self._on_change(key)
        return watch

    def _is_needed(self) -> bool:
        return self._is_stale or self._stopping.is_set()

    def _pass_on(self, found: set[tuple[int, str]] | str) -> None:
        if isinstance(found, set):  # else the word for why there is nothing
            self._tell({path for _, path in found})

    def _report(self, problem: str) -> None:
        if problem != self._problem:
            logger.warning("changes of base paths are found by polling alone: %s", problem)
        self._problem = problem

    def _tell(self, paths: Iterable[str]) -> None:
        places = {place for path in paths for place in (path, str(Path(path).parent))}
        with self._changed:
            keys = [key for key, those in self._wanted.items() if any(path in places for path, _ in those)]
        for key in keys:
            self._on_change(key)
