"""Any kind of servable, its versions loaded in processes of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from pipeline.clock import Clock, SystemClock
from pipeline.description import Description
from pipeline.isolation.crew import Crew
from pipeline.isolation.messages import Load
from pipeline.isolation.servable import IsolatedServable
from pipeline.isolation.spawner import Spawner
from pipeline.registry.cores import cores
from pipeline.registry.loader import Loader
from pipeline.registry.servable import ServableId
from pipeline.registry.source_adapter import SourceAdapter
from pipeline.settings import BatchingSettings


class IsolatedAdapter:
    """A SourceAdapter around another: what that one loads, this one has loaded in ``processes`` child processes.

    ``entry_point`` (``module:name``) is where a child finds the kind; without one, by the installed plugins. The inner
    adapter only ever detects, checks options and estimates: nothing is loaded in this process. ``processes`` 0 is one
    for each core that this process may use, ``timeout_s`` the longest that a call may take. ``batching`` returns the
    stream's settings of now, on any thread.
    """

    def __init__(
        self,
        inner: SourceAdapter,
        *,
        entry_point: str = "",
        processes: int = 1,
        timeout_s: float = 60.0,
        batching: Callable[[], BatchingSettings] = BatchingSettings,
        spawner: Spawner | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.kind = inner.kind
        self.looks_for = inner.looks_for
        self._inner = inner
        self._entry_point = entry_point
        self._processes = processes or cores()
        self._timeout_s = timeout_s
        self._batching = batching
        self._spawner = spawner or Spawner()
        self._clock = clock or SystemClock()

    def detect(self, path: Path) -> bool:
        """See SourceAdapter."""
        return self._inner.detect(path)

    def loader(self, id: ServableId, path: Path, options: Mapping[str, Any]) -> IsolatedLoader:  # noqa: A002  # TF Serving's word
        """See SourceAdapter. Raises what the inner adapter raises."""
        inner = self._inner.loader(id, path, options)
        load = Load(self.kind, self._entry_point, id.name, id.version, str(path.absolute()), dict(options))
        make_servable = partial(
            IsolatedServable, processes=self._processes, timeout_s=self._timeout_s, batching=self._batching
        )
        return IsolatedLoader(inner, load, self._processes, make_servable, self._spawner, self._clock)


class IsolatedLoader:
    """See Loader. ``inner`` is asked for its estimate, and never loads."""

    def __init__(
        self,
        inner: Loader,
        load: Load,
        processes: int,
        make_servable: Callable[[Crew, Description], IsolatedServable],
        spawner: Spawner,
        clock: Clock,
    ) -> None:
        self._inner = inner
        self._load = load
        self._processes = processes
        self._make_servable = make_servable
        self._spawner = spawner
        self._clock = clock
        self._loaded_bytes: int | None = None
        self._crew: Crew | None = None

    def estimate_bytes(self) -> int | None:
        """See Loader: what one process needs, times the processes; after the load as estimated there."""
        before = self._inner.estimate_bytes() if self._loaded_bytes is None else self._loaded_bytes
        return None if before is None else before * self._processes

    def load(self) -> IsolatedServable:
        """See Loader. Raises what the load raises in the child, LoadFailed with the signal where that dies of it.

        The children load as nice as the calling thread is.
        """
        name = f"{self._load.name}/{self._load.version}"
        load = msgspec.structs.replace(self._load, niceness=niceness())
        crew = Crew(name, self._processes, load, self._spawner, self._clock)
        loaded = crew.start()
        estimate_bytes = self._inner.estimate_bytes()
        if estimate_bytes is not None and loaded.estimate_bytes is not None:
            self._loaded_bytes = min(estimate_bytes, loaded.estimate_bytes)
        self._crew = crew
        return self._make_servable(crew, loaded.description)

    def unload(self) -> None:
        """See Loader. Raises what the unload raises in a child; all children are gone whatever happens."""
        crew, self._crew = self._crew, None
        self._loaded_bytes = None
        if crew is not None:
            crew.close()

    def memory_bytes(self) -> int | None:
        """See Loader."""
        return None if self._crew is None else self._crew.resident_bytes()


def niceness() -> int:
    """Return by how much the calling thread gives way to the main one; 0 where that is not known."""
    if not hasattr(os, "getpriority"):
        return 0
    return max(0, os.getpriority(os.PRIO_PROCESS, 0) - os.getpriority(os.PRIO_PROCESS, os.getpid()))
