"""A manager that loads a stream when it is first asked for, and lets the least used one go when there are too many."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from pipeline.clock import Clock
from pipeline.errors import NotReady, UnknownServable
from pipeline.registry.handle import Handle
from pipeline.registry.loader import Loader
from pipeline.registry.manager import Manager
from pipeline.registry.source import Aspired

# From a stream's name to what shall be loaded of it; raises UnknownServable (or any error of ours) where there is none.
LoaderFactory = Callable[[str], Sequence[Aspired[Loader]]]


class CachingManager:
    """For thousands of streams of which a few are in use; the streams of its manager are its own.

    Any thread, not for an event loop: ``acquire`` waits for the first load of a stream. Requests for one stream that
    come together cause one load, and those for another do not wait for it. At most ``max_streams`` are kept (0: no
    bound) beside those that somebody waits for: the one that was not asked for the longest is unloaded, as soon as its
    handles are released. A stream of which nothing could be loaded is tried again by the first request after
    ``failed_for_s``. A subscriber of the event bus must not call it.
    """

    def __init__(
        self,
        manager: Manager,
        factory: LoaderFactory,
        clock: Clock,
        *,
        max_streams: int = 0,
        failed_for_s: float = 60.0,
    ) -> None:
        self._manager = manager
        self._factory = factory
        self._clock = clock
        self._max_streams = max_streams
        self._failed_for_s = failed_for_s
        self._lock = threading.Lock()
        self._uses: OrderedDict[str, _Use] = OrderedDict()  # the one used last is last

    def acquire(
        self, name: str, version: int | None = None, label: str | None = None, timeout_s: float = 60.0
    ) -> Handle:
        """Return a handle as ``Manager.acquire`` does, loading the stream where it is not loaded.

        Raises what the factory raises, what ``Manager.acquire`` raises once the stream is settled, and NotReady where
        it is not after ``timeout_s``.
        """
        try:
            handle = self._manager.acquire(name, version, label)
        except (UnknownServable, NotReady):
            return self._load_and_acquire(name, version, label, timeout_s)
        with self._lock:
            if name in self._uses:
                self._uses.move_to_end(name)
        return handle

    def streams(self) -> tuple[str, ...]:
        """Return the streams that are loaded or on their way, the least recently used first."""
        with self._lock:
            return tuple(self._uses)

    def _load_and_acquire(self, name: str, version: int | None, label: str | None, timeout_s: float) -> Handle:
        use = self._enter(name)
        try:
            with use.lock:
                if not use.is_aspired:
                    items = self._factory(name)
                    self._manager.set_aspired(name, (), {}, -1)  # a failed version is tried again when it was left out
                    self._manager.set_aspired(name, items, {}, -1)
                    use.is_aspired = True
            self._manager.wait_settled([name], timeout_s)
            return self._manager.acquire(name, version, label)
        finally:
            self._leave(name, use)

    def _enter(self, name: str) -> _Use:
        """Return the use of a stream, which stays while somebody waits for it; a new one where it has to be aspired."""
        with self._lock:
            use = self._uses.get(name)
            if use is None or self._has_failed(name, use):
                use = self._uses[name] = _Use(self._clock.monotonic_s())
            self._uses.move_to_end(name)
            use.waiting += 1
            return use

    def _leave(self, name: str, use: _Use) -> None:
        with self._lock:
            use.waiting -= 1
            if not use.is_aspired and not use.waiting and self._uses.get(name) is use:
                del self._uses[name]
            unwanted = [other for other, its in self._uses.items() if not its.waiting]
            for other in unwanted[: max(0, len(self._uses) - self._max_streams) if self._max_streams else 0]:
                del self._uses[other]
                self._manager.forget(other, -1)

    def _has_failed(self, name: str, use: _Use) -> bool:
        """Whether nothing of the stream could be loaded, and that was long enough ago."""
        if not use.is_aspired or self._clock.monotonic_s() - use.since_s < self._failed_for_s:
            return False
        snapshot = self._manager.snapshot(name)
        return snapshot is not None and not snapshot.ready and self._manager.is_settled(name)


@dataclass(eq=False)
class _Use:
    """A stream from its aspiration on, and how many wait for it."""

    since_s: float
    waiting: int = 0
    is_aspired: bool = False
    lock: threading.Lock = field(default_factory=threading.Lock)
