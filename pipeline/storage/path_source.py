"""The storage path source: watches the base paths of many streams, and publishes what is to be aspired of each."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Final

from pipeline.clock import Clock
from pipeline.records import AspiredVersions
from pipeline.registry.source import Target
from pipeline.storage.base_path import BasePath
from pipeline.storage.folder import Folder
from pipeline.storage.notifier import Notifier
from pipeline.storage.outbox import Outbox
from pipeline.storage.polls import HUNG_AFTER_S, PATIENCE_S, Polls
from pipeline.storage.stream_watch import StreamWatch, Versions
from pipeline.storage.to_target import to_target

# A base path whose changes are told is looked at this often all the same: what was not told is found then.
NOTIFIED_POLL_INTERVAL_S: Final = 20.0


class PathSource:
    """A StoragePathSource, and a Source, over whatever ``folder_of`` opens.

    A child of a base path whose name is a number is a version; it is aspired when it is complete (see Completion). One
    whose content changes afterwards is aspired again, with its new digest. A base path that is missing or can not be
    read changes nothing and is logged once; one without versions unloads all, unless the stream keeps its last. While
    nothing but unfinished versions is there, what was aspired last stays.

    A stream's records go to ``publish`` and to the target, as far as there are any: in order, one at a time, a repeated
    one not at all; one that could not be published is told again. With ``start``, a base path that hangs delays no
    other stream, and so does a broker that is away. Without it, ``step`` does everything on the calling thread. One or
    the other. ``notifies`` asks for changes to be told by the kernel where folders name directories.
    """

    def __init__(
        self,
        base_paths: Iterable[BasePath],
        folder_of: Callable[[BasePath], Folder],
        clock: Clock,
        publish: Callable[[AspiredVersions], None] | None = None,
        *,
        publisher: str = "",
        notifies: bool = False,
        patience_s: float = PATIENCE_S,
        hung_after_s: float = HUNG_AFTER_S,
    ) -> None:
        self._folder_of, self._clock, self._publisher = folder_of, clock, publisher
        self._publish = publish
        self._tell: Callable[[AspiredVersions], None] | None = None
        self._outbox = Outbox(self._accept)
        self._polls: Polls[StreamWatch] = Polls(self._poll, _describe, patience_s=patience_s, hung_after_s=hung_after_s)
        self._notifier: Notifier[StreamWatch] | None = Notifier(self._polls.soon) if notifies else None
        self._lock = threading.Lock()
        self._watches: dict[str, StreamWatch] = {}
        self.set_base_paths(base_paths)

    def set_target(self, target: Target[str]) -> None:
        """See Source."""
        if self._tell is not None:
            raise RuntimeError("this source has a target already")
        self._tell = to_target(target)

    def set_base_paths(self, base_paths: Iterable[BasePath]) -> None:
        """Replace the set of streams; one that is left out gets one record with the empty set. Any thread, at any time.

        A stream that is kept publishes only what changes for it: another policy is applied to what has been seen,
        another place is looked at anew, and what was aspired of it stays until a version there is complete.
        """
        wanted = {base.stream: base for base in base_paths}
        with self._lock:
            for stream in [stream for stream in self._watches if stream not in wanted]:
                self._drop(stream)
                self._put(stream, (), None)
            for base in wanted.values():
                self._place(base)

    def step(self) -> None:
        """See StoragePathSource. Blocks on the storage of each stream in turn, and on the broker."""
        for watch in list(self._watches.values()):
            self._look(watch)
        self._outbox.flush()

    def start(self) -> None:
        """See StoragePathSource."""
        self._outbox.start()
        if self._notifier is not None:
            self._notifier.start()
        self._polls.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """See StoragePathSource. A look that hangs is left to its thread, and publishes nothing any more."""
        deadline_s = self._clock.monotonic_s() + timeout_s
        stops = [self._polls.stop, self._outbox.stop]
        if self._notifier is not None:
            stops.append(self._notifier.stop)
        for stop in stops:
            stop(max(0.0, deadline_s - self._clock.monotonic_s()))

    def _accept(self, record: AspiredVersions) -> None:
        for tell in (self._publish, self._tell):
            if tell is not None:
                tell(record)

    def _place(self, base: BasePath) -> None:
        watch = self._watches.get(base.stream)
        if watch is not None and watch.base == base:
            return
        if watch is not None and base.sees_the_same(watch.base):
            watch.base = base
            self._polls.soon(watch)
            return
        if watch is not None:
            self._drop(base.stream)
        self._watches[base.stream] = watch = StreamWatch(base, self._folder_of(base), self._clock)
        self._polls.add(watch)

    def _drop(self, stream: str) -> None:
        watch = self._watches.pop(stream)
        self._polls.remove(watch)
        if self._notifier is not None:
            self._notifier.forget(watch)

    def _poll(self, watch: StreamWatch) -> float:
        due_s, interval_s = self._look(watch), watch.base.poll_interval_s
        with self._lock:
            if self._notifier is not None and self._watches.get(watch.base.stream) is watch:
                is_notified = self._notifier.want(watch, watch.folder.directories())
                interval_s = max(interval_s, NOTIFIED_POLL_INTERVAL_S) if is_notified else interval_s
        return interval_s if due_s is None else min(interval_s, due_s)

    def _look(self, watch: StreamWatch) -> float | None:
        look = watch.look()
        with self._lock:
            # A look that began before its stream was dropped, or placed elsewhere, is no news any more.
            is_current = self._watches.get(watch.base.stream) is watch
            if is_current and look.versions is not None:
                self._put(watch.base.stream, look.versions, watch.base.kind)
        return look.due_s

    def _put(self, stream: str, versions: Versions, kind: str | None) -> None:
        now_ms = self._clock.unix_ms()
        record = AspiredVersions(stream, versions, kind, publisher=self._publisher, published_at_ms=now_ms)
        self._outbox.put(record)


def _describe(watch: StreamWatch) -> str:
    return f"servable stream {watch.base.stream}: its base path {watch.base.path}"
