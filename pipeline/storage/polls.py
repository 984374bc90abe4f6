"""When which base path is looked at, and on which thread: one that hangs delays no other."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

logger = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

# How long the looks of others wait for one that does not return, before another thread goes on with them.
PATIENCE_S: Final = 0.1
HUNG_AFTER_S: Final = 5.0


class Polls(Generic[K]):
    """Calls ``look(key)`` for every key when it is due; the call returns in how many seconds it is due again.

    No key is looked at by two threads at a time. One thread, the runner, looks at key after key; another stands by.
    When the runner has been with one key for longer than ``patience_s``, the one standing by becomes the runner and a
    new one stands by; the thread that was left behind ends with its look. So there are two threads, and one for each
    look that hangs. A key that was slow the last time is left behind from the start. A look that takes
    ``hung_after_s`` is logged, once, and once more when it has returned. ``look`` must not raise.
    """

    def __init__(
        self,
        look: Callable[[K], float],
        describe: Callable[[K], str] = str,
        *,
        patience_s: float = PATIENCE_S,
        hung_after_s: float = HUNG_AFTER_S,
    ) -> None:
        self._look, self._describe = look, describe
        self._patience_s, self._hung_after_s = patience_s, hung_after_s
        lock = threading.Lock()
        self._changed = threading.Condition(lock)
        # Of its own, so that whoever stands by does not wake up for every look of the runner.
        self._runner_left = threading.Condition(lock)
        self._due: dict[K, float] = {}
        self._queue: list[tuple[float, int, K]] = []
        self._order = itertools.count()
        self._under_way: dict[K, float] = {}
        self._again: set[K] = set()
        self._slow: set[K] = set()
        self._hung: set[K] = set()
        self._took_s: dict[K, float] = {}
        self._keys: set[K] = set()
        self._runner: threading.Thread | None = None
        self._runner_since_s: float | None = None
        self._threads: set[threading.Thread] = set()
        self._is_stopping = False

    def add(self, key: K) -> None:
        """Look at a key from now on, at once for the first time. Any thread."""
        with self._changed:
            self._keys.add(key)
            self._schedule(key, time.monotonic())

    def remove(self, key: K) -> None:
        """Look at a key no more; a look that is under way is not waited for. Any thread."""
        with self._changed:
            self._keys.discard(key)
            for kept in (self._due, self._took_s):
                kept.pop(key, None)
            self._slow.discard(key)

    def soon(self, key: K) -> None:
        """Look at a key as soon as may be: at once, but never for more than half of the time. Any thread."""
        with self._changed:
            if key in self._under_way:
                self._again.add(key)
            elif key in self._keys:
                self._schedule(key, time.monotonic() + self._took_s.get(key, 0.0))

    def start(self) -> None:
        """Look on threads until ``stop``."""
        with self._changed:
            self._start_thread()
            self._start_thread()

    def stop(self, timeout_s: float) -> None:
        """Begin no further look; wait for those that are under way, at most ``timeout_s``."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify_all()
            self._runner_left.notify_all()
            threads = list(self._threads)
        deadline_s = time.monotonic() + timeout_s
        for thread in threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))

    def _start_thread(self) -> None:
        thread = threading.Thread(target=self._run, name="penstock-storage", daemon=True)
        self._threads.add(thread)
        thread.start()

    def _schedule(self, key: K, due_s: float) -> None:
        before = self._due.get(key)
        if before is not None and before <= due_s:
            return
        self._due[key] = due_s
        heapq.heappush(self._queue, (due_s, next(self._order), key))
        self._changed.notify_all()

    def _run(self) -> None:
        me = threading.current_thread()
        with self._changed:
            while not self._is_stopping:
                if self._runner is None:
                    self._runner, self._runner_since_s = me, None
                if self._runner is not me:
                    self._stand_by(me)
                    continue
                key = self._take()
                if key is None:
                    continue
                self._look_at(key)
                if self._runner is not me:
                    break
                self._runner_since_s = None
            if self._runner is me:
                self._runner = None
            self._threads.discard(me)

    def _stand_by(self, me: threading.Thread) -> None:
        self._runner_left.wait(self._patience_s)
        now_s = time.monotonic()
        self._report_hung(now_s)
        since_s = self._runner_since_s
        is_stuck = since_s is not None and now_s - since_s >= self._patience_s
        if not self._is_stopping and (self._runner is None or is_stuck):
            self._runner, self._runner_since_s = me, None
            self._start_thread()

    def _take(self) -> K | None:
        """Return the key that is due, removed from the queue; wait where none is, and then return None."""
        while self._queue:
            due_s, _, key = self._queue[0]
            if self._due.get(key) != due_s:  # scheduled anew, or removed
                heapq.heappop(self._queue)
                continue
            now_s = time.monotonic()
            if due_s > now_s:
                break
            heapq.heappop(self._queue)
            del self._due[key]
            self._under_way[key] = self._runner_since_s = now_s
            if key in self._slow:
                self._runner = None
                self._runner_left.notify_all()
            return key
        self._changed.wait(max(0.0, self._queue[0][0] - time.monotonic()) if self._queue else None)
        return None

    def _look_at(self, key: K) -> None:
        began_s = self._under_way[key]
        self._changed.release()
        try:
            delay_s = self._look(key)
        finally:
            self._changed.acquire()
            del self._under_way[key]
        now_s = time.monotonic()
        self._took_s[key] = took_s = now_s - began_s
        (self._slow.add if took_s >= self._patience_s else self._slow.discard)(key)
        if key in self._hung:
            self._hung.discard(key)
            logger.warning("%s: the look that took so long has ended, after %.1f s", self._describe(key), took_s)
        is_due_again = key in self._again
        self._again.discard(key)
        if key in self._keys:
            self._schedule(key, now_s + (min(took_s, delay_s) if is_due_again else delay_s))
        else:
            self._took_s.pop(key)
            self._slow.discard(key)

    def _report_hung(self, now_s: float) -> None:
        for key, since_s in self._under_way.items():
            if now_s - since_s >= self._hung_after_s and key not in self._hung:
                self._hung.add(key)
                reason = "it hangs, or reads much that is new; the others go on"
                logger.warning("%s: a look takes longer than %g s: %s", self._describe(key), self._hung_after_s, reason)
