"""The manager: makes the loaded set of every stream equal its aspired set, and hands out the right to use versions."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from functools import partial

from pipeline.clock import Clock
from pipeline.errors import NotReady, UnknownServable
from pipeline.registry import heap
from pipeline.registry.budget import Budget
from pipeline.registry.handle import Handle
from pipeline.registry.jobs import Jobs
from pipeline.registry.loader import Loader
from pipeline.registry.memory import resident_bytes
from pipeline.registry.policy import Policy
from pipeline.registry.rules import Rules
from pipeline.registry.servable import ServableId
from pipeline.registry.snapshot import StreamSnapshot
from pipeline.registry.source import Aspired
from pipeline.registry.states import EventBus
from pipeline.registry.stream import Machinery, Stream
from pipeline.registry.timer import ThreadTimer, Timer

logger = logging.getLogger(__name__)


class Manager:
    """A Target of loaders that serves what they load.

    Every stream advances by its own events alone: a load, a handle or a subscriber that takes its time delays no other
    stream. Loads run on ``load_pool`` and unloads on ``unload_pool``, never on a thread that uses a servable; the pools
    belong to the caller and outlive ``close``. A load that fails with a ``retriable`` error or an OSError is tried
    again ``max_load_retries`` times, after ``retry_interval_s`` and then twice as long each time, waiting on no pool's
    thread; then it has ended with its error, and while it is aspired gets a new life every ``retry_failed_after_s``
    seconds (0: never). ``rules`` gives each stream its own instead of ``policy``; ``budget`` bounds the memory.
    """

    def __init__(
        self,
        policy: Policy,
        load_pool: Executor,
        unload_pool: Executor,
        bus: EventBus,
        clock: Clock,
        *,
        max_load_retries: int = 2,
        retry_interval_s: float = 1.0,
        retry_failed_after_s: float = 60.0,
        rules: Callable[[str], Rules] | None = None,
        budget: Budget | None = None,
        timer: Timer | None = None,
    ) -> None:
        self._rules = rules or (lambda _: Rules(policy))
        self._timer = timer or ThreadTimer(clock)
        jobs = Jobs(load_pool, unload_pool, clock, budget or Budget(), resident_bytes, heap.give_back)
        self._shared = Machinery(
            jobs, bus, clock, self._timer, max_load_retries, retry_interval_s, retry_failed_after_s, self._on_idle
        )
        self._changed = threading.Condition()
        self._streams: dict[str, Stream] = {}
        self._is_closed = False

    # -- aspire -----------------------------------------------------------------------------------------------------

    def set_aspired(
        self, stream: str, items: Sequence[Aspired[Loader]], labels: Mapping[str, int], generation: int
    ) -> None:
        """See Target. A version that is available with other content is kept, and a warning says so."""
        strangers = [str(item.id) for item in items if item.id.name != stream]
        if strangers:
            raise ValueError(f"aspired for stream {stream!r}, but of another: {', '.join(strangers)}")
        self._put(stream, lambda it: partial(it.aspire, tuple(items), dict(labels), generation))

    def forget(self, stream: str, generation: int) -> None:
        """See Target. The name is unknown to ``acquire`` at once, and its last versions end in their own time."""
        if stream in self._streams:
            self._put(stream, lambda it: partial(it.aspire, (), {}, generation, is_forgotten=True))

    # -- use --------------------------------------------------------------------------------------------------------

    def acquire(self, name: str, version: int | None = None, label: str | None = None) -> Handle:
        """Return a handle on the version, else on the label's, else on the latest available one.

        From any thread or event loop; O(1), waits for nothing. The handle pins its one version and nothing else.
        Raises UnknownServable, UnknownVersion (not aspired here, or failed), UnknownLabel, or NotReady (on its way,
        none available, or the manager is closed).
        """
        while not self._is_closed:
            stream = self._streams.get(name)
            snapshot = stream.snapshot if stream is not None else None
            if snapshot is None or snapshot.is_forgotten:
                raise UnknownServable(name, self.streams())
            handle = snapshot.find(version, label).take()
            if handle is not None:
                return handle
            # refused: the version is being withdrawn, and the next snapshot, already in place, does not have it
        raise NotReady(name, ("this worker is closing",))

    def streams(self) -> tuple[str, ...]:
        """Return the names of all known streams, sorted, those with no version included."""
        streams = tuple(self._streams.values())
        return tuple(sorted(stream.name for stream in streams if not stream.snapshot.is_forgotten))

    def snapshot(self, name: str) -> StreamSnapshot | None:
        """Return what a stream can answer with at this moment, None where it is not known."""
        stream = self._streams.get(name)
        return stream.snapshot if stream is not None and not stream.snapshot.is_forgotten else None

    def available(self) -> tuple[ServableId, ...]:
        """Return all versions that handles can be taken on, sorted."""
        streams = tuple(self._streams.values())
        return tuple(sorted(ServableId(s.name, version) for s in streams for version in s.snapshot.ready))

    # -- wait -------------------------------------------------------------------------------------------------------

    def is_settled(self, stream: str) -> bool:
        """Whether each aspired version is available or has ended, and nothing is on its way up or down.

        An old version that the policy keeps because the new one failed does not unsettle a stream. False for a stream
        that was never aspired. Never blocks.
        """
        found = self._streams.get(stream)
        return found is not None and found.is_settled()

    def wait_settled(self, streams: Iterable[str], timeout_s: float) -> dict[str, tuple[str, ...]]:
        """Wait until all these streams are settled; return those that are not after ``timeout_s``, with their versions.

        Not for an event loop. Leaves nothing behind when it times out. Does not wait for a stream that a closed manager
        never got to know.
        """
        names = tuple(streams)
        waiting = list(names)

        def is_over() -> bool:
            while waiting and self._is_decided(waiting[-1]):
                waiting.pop()
            if not waiting:  # each has been settled at some moment; all have to be at one
                waiting.extend(name for name in names if not self._is_decided(name))
            return not waiting

        with self._changed:
            is_all = self._changed.wait_for(is_over, timeout_s)
        unsettled = [name for name in names if name not in self._streams or not (is_all or self.is_settled(name))]
        return {name: self._streams[name].snapshot.states if name in self._streams else () for name in unsettled}

    def close(self, timeout_s: float) -> tuple[str, ...]:
        """Refuse new handles, unload everything, and return the versions that had not ended after ``timeout_s``.

        Blocks until the handles are released and the loads that run have returned, at most ``timeout_s``. Every version
        has got its END when this returns, with an error where it did not really end; such a version is still unloaded
        when its handles come back. Aspirations are ignored from the call on. The second call does nothing.
        """
        with self._changed:
            if self._is_closed:
                return ()
            self._is_closed = True
            self._changed.notify_all()
            streams = tuple(self._streams.values())
            for stream in streams:
                stream.mailbox.put(stream.withdraw)
        for stream in streams:
            stream.mailbox.run()
        waiting = list(streams)

        def is_over() -> bool:
            while waiting and waiting[-1].is_gone():
                waiting.pop()  # for good: nothing is aspired any more
            return not waiting

        with self._changed:
            self._changed.wait_for(is_over, timeout_s)
        self._timer.stop()
        left = [stream for stream in streams if not stream.is_gone()]
        names = tuple(f"{stream.name}/{state}" for stream in left for state in stream.snapshot.states)
        for stream in left:
            stream.mailbox.tell(stream.abandon)
        return names

    # -- inside -----------------------------------------------------------------------------------------------------

    def _put(self, name: str, step_of: Callable[[Stream], Callable[[], None]]) -> None:
        with self._changed:
            if self._is_closed:
                logger.info("the manager is closed: the aspiration of %s is ignored", name)
                return
            stream = self._streams.get(name)
            if stream is None:
                stream = self._streams[name] = Stream(name, self._rules, self._shared)
            stream.mailbox.put(step_of(stream))
        stream.mailbox.run()

    def _is_decided(self, name: str) -> bool:
        return self.is_settled(name) or (self._is_closed and name not in self._streams)

    def _on_idle(self, stream: Stream) -> None:
        with self._changed:
            if stream.snapshot.is_forgotten and stream.is_gone() and self._streams.get(stream.name) is stream:
                del self._streams[stream.name]
            self._changed.notify_all()
