"""ReplyTable: the answers that have come and the callers that wait for them. Knows no broker."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue

from pipeline.errors import PenstockError
from pipeline.records import PredictResult

log = logging.getLogger(__name__)

# What becomes of a request: its result (which may be an error result), or why there will be none.
Outcome = PredictResult | PenstockError
Deliver = Callable[[Outcome], None]
Wake = Callable[[], None]


class ReplyTable:
    """Hands each outcome to whoever claimed its id, and keeps the others until they are taken. Thread-safe.

    At most ``max_results`` are kept; beyond that the oldest goes, with one warning. The ids that are done (taken, or
    given up) are remembered up to the same number, so that the second answer that at-least-once allows is not shown
    as another result. ``deliver`` and ``wake`` are called on the thread that calls ``put``; they must neither block
    nor raise.
    """

    def __init__(self, max_results: int) -> None:
        self._max_results = max_results
        self._lock = threading.Lock()  # guards all below
        self._claims: dict[str, Deliver] = {}
        self._kept: dict[str, Outcome] = {}
        self._done: dict[str, None] = {}
        self._watchers: dict[str | None, list[Wake]] = {}
        self._has_warned = False

    def grow(self, max_results: int) -> None:
        """Keep at least this many."""
        self._max_results = max(self._max_results, max_results)

    def claim(self, id_: str, deliver: Deliver) -> None:
        """Have the outcome of ``id_`` go to ``deliver``, once, and not be kept; ValueError where it is claimed."""
        with self._lock:
            if id_ in self._claims:
                raise ValueError(f"request {id_!r} is being waited for already; ids of one client must differ")
            self._claims[id_] = deliver

    def give_up(self, id_: str) -> None:
        """End a claim; an answer that still comes is dropped. Nothing happens where it was delivered."""
        with self._lock:
            if self._claims.pop(id_, None) is not None:
                self._finish(id_)

    def expect(self, id_: str) -> None:
        """Take the next outcome of an id even if it was done before: its caller sends it again."""
        if id_ in self._done:
            with self._lock:
                self._done.pop(id_, None)

    def put_claimed(self, id_: str, outcome: Outcome) -> bool:
        """Hand an outcome to its claim, if there is one; return whether there is."""
        is_claimed = id_ in self._claims
        if is_claimed:
            self.put(id_, outcome)
        return is_claimed

    def put(self, id_: str, outcome: Outcome) -> None:
        """Hand an outcome to its claim, or keep it and wake who watches."""
        with self._lock:
            deliver = self._claims.pop(id_, None)
            if deliver is not None:
                self._finish(id_)
                wakes: list[Wake] = []
            elif id_ in self._done:
                log.debug("an answer to request %s that nobody waits for any more is dropped", id_)
                return
            else:
                self._keep(id_, outcome)
                wakes = self._watchers.pop(id_, []) + self._watchers.pop(None, []) if self._watchers else []
        if deliver is not None:
            deliver(outcome)
        for wake in wakes:
            wake()

    def get(self, id_: str) -> Outcome | None:
        """Return what is kept for an id, and keep it."""
        return self._kept.get(id_)

    def pop(self, id_: str) -> Outcome | None:
        """Return what is kept for an id, and keep it no longer."""
        with self._lock:
            outcome = self._kept.pop(id_, None)
            if outcome is not None:
                self._finish(id_)
            return outcome

    def drain(self, max_results: int | None = None) -> dict[str, Outcome]:
        """Return what is kept, oldest first, ``max_results`` at most, and keep it no longer."""
        with self._lock:
            ids = list(self._kept)[:max_results]
            taken = {id_: self._kept.pop(id_) for id_ in ids}
            for id_ in ids:
                self._finish(id_)
        return taken

    def watch(self, id_: str | None, wake: Wake) -> bool:
        """Have ``wake`` called once when something is kept for ``id_`` (None: for any). False: it is there already."""
        with self._lock:
            if self._kept if id_ is None else id_ in self._kept:
                return False
            self._watchers.setdefault(id_, []).append(wake)
            return True

    def unwatch(self, id_: str | None, wake: Wake) -> None:
        """End a watch, if it has not been woken."""
        with self._lock:
            wakes = self._watchers.get(id_, [])
            if wake in wakes:
                wakes.remove(wake)
            if not wakes:
                self._watchers.pop(id_, None)

    def wait(self, id_: str | None, timeout_s: float) -> bool:
        """Block until something is kept for ``id_`` (None: for any), ``timeout_s`` at most; return whether it is.

        Another thread may take it before the caller does.
        """
        deadline_s = time.monotonic() + timeout_s
        gate: SimpleQueue[None] = SimpleQueue()

        def wake() -> None:
            gate.put(None)

        if not self.watch(id_, wake):
            return True
        try:
            gate.get(timeout=max(0.0, deadline_s - time.monotonic()))
        except Empty:
            return False
        finally:
            self.unwatch(id_, wake)
        return True

    def fail(self, error: PenstockError) -> None:
        """Hand an error to every claim and wake every watcher: nothing will come any more."""
        with self._lock:
            delivers, self._claims = list(self._claims.values()), {}
            wakes, self._watchers = [wake for some in self._watchers.values() for wake in some], {}
        for deliver in delivers:
            deliver(error)
        for wake in wakes:
            wake()

    def _keep(self, id_: str, outcome: Outcome) -> None:
        self._kept.pop(id_, None)  # a later answer stands behind all others
        self._kept[id_] = outcome
        if len(self._kept) > self._max_results:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            level = logging.DEBUG if self._has_warned else logging.WARNING
            self._has_warned = True
            log.log(level, "more than %d results that nobody took: the oldest (%s) is dropped; call dequeue, or raise "
                    "max_results", self._max_results, oldest)  # fmt: skip

    def _finish(self, id_: str) -> None:
        self._done[id_] = None
        if len(self._done) > self._max_results:
            del self._done[next(iter(self._done))]
