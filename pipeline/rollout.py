"""From an aspiration in the topic to loaders in the manager.

Whose version it is, where it may lie, which kind it is.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from pipeline.errors import LoadFailed
from pipeline.isolation.adapter import IsolatedAdapter
from pipeline.isolation.spawner import Spawner
from pipeline.records import AspiredVersion, AspiredVersions
from pipeline.registry.loader import Loader, elsewhere_bytes
from pipeline.registry.servable import Servable, ServableId
from pipeline.registry.source import Aspired, Target
from pipeline.registry.source_adapter import SourceAdapter, wants_process
from pipeline.servables import kinds
from pipeline.settings import BatchingSettings, Settings, StreamSettings
from pipeline.storage.cache import Cache
from pipeline.storage.fetch import Fetcher, cache_folder
from pipeline.warm_up import gate

logger = logging.getLogger(__name__)


class Adapters:
    """One source adapter of each kind for the life of a worker: what servables of a kind share lives there.

    Thread-safe; a kind is imported when it is first needed. ``spawner`` starts the processes of isolated versions.
    """

    def __init__(self) -> None:
        self.spawner = Spawner()
        self._lock = threading.Lock()
        self._named: dict[str, SourceAdapter] = {}
        self._has_all = False

    def named(self, kind: str) -> SourceAdapter:
        """Return the adapter of a kind; raises PluginError."""
        with self._lock:
            if kind not in self._named:
                self._named[kind] = kinds.load_adapter(kind)
            return self._named[kind]

    def fitting(self, path: Path) -> SourceAdapter:
        """Return the adapter whose kind the files at ``path`` are; raises UnknownKind or AmbiguousKind."""
        with self._lock:
            if not self._has_all:
                self._named, self._has_all = kinds.load_adapters() | self._named, True
            adapters = dict(self._named)
        return adapters[kinds.detect(path, adapters)]


@dataclass
class VersionLoader:
    """A Loader that finds out on the load pool, where a slow disk delays nobody else, what it has to load and how.

    ``batching`` returns the stream's settings of now.
    """

    id: ServableId
    version: AspiredVersion
    kind: str | None
    settings: StreamSettings
    batching: Callable[[], BatchingSettings]
    allowed_roots: tuple[str, ...]
    adapters: Adapters
    fetcher: Fetcher
    found_kind: str | None = None
    _path: Path | None = None
    _loader: Loader | None = None

    def estimate_bytes(self) -> int | None:
        """See Loader. Raises what ``load`` would raise before anything is opened; before a load it keeps nothing."""
        if self._loader is not None:
            return self._loader.estimate_bytes()
        try:
            return self._find()[0].estimate_bytes()
        finally:
            self._release()

    def load(self) -> Servable:
        """See Loader, and ``gate.load``. Raises PathRefused, UnknownKind or AmbiguousKind before anything is opened."""
        try:
            loader, path = self._find()
            return gate.load(loader, self.id, path, self.settings.warm_up, self.settings.batching)
        except BaseException:
            self._release()
            raise

    def unload(self) -> None:
        """See Loader."""
        if self._loader is not None:
            self._loader.unload()
        self._release()

    def memory_bytes(self) -> int | None:
        """See Loader: what that of the kind says, None where it says nothing."""
        return None if self._loader is None else elsewhere_bytes(self._loader)

    def _find(self) -> tuple[Loader, Path]:
        """Make the loader of the kind that the files are of; return it, and where they lie on this machine."""
        manifest = self.settings.manifest if self.settings.complete_when == "manifest" else None
        path = self.fetcher.local_path(self.version.path, self.version.digest, self.allowed_roots, manifest)
        self._path = path
        adapter = self.adapters.named(self.kind) if self.kind else self.adapters.fitting(path)
        self.found_kind = adapter.kind
        isolation = self.settings.isolation or ("process" if wants_process(adapter, path) else "thread")
        if isolation == "process":
            adapter = self._isolated(adapter)
        self._loader = adapter.loader(self.id, path, self.settings.options)
        return self._loader, path

    def _isolated(self, adapter: SourceAdapter) -> SourceAdapter:
        stream = self.settings
        return IsolatedAdapter(
            adapter,
            processes=stream.processes,
            timeout_s=stream.predict_timeout_s,
            batching=self.batching,
            spawner=self.adapters.spawner,
        )

    def _release(self) -> None:
        if self._path is not None:
            self.fetcher.release(self._path)
        self._path = self._loader = None


class RollOut:
    """Passes the aspirations of the streams that this worker serves on to its manager.

    ``aspire`` and ``forget`` are called on the follower's thread, ``update`` on any. What is aspired of streams that
    this worker does not serve is remembered, for they may be added to its settings.
    """

    def __init__(self, settings: Settings, target: Target[Loader]) -> None:
        self._target = target
        self._adapters = Adapters()
        self._lock = threading.Lock()
        self._settings = settings
        self._has_spawner = False
        self._prepare_processes(settings)
        self._standing: dict[str, tuple[AspiredVersions, int]] = {}
        folder = cache_folder(settings.worker.cache_dir, os.environ)
        self._fetcher = Fetcher(Cache(folder, settings.worker.cache_limit_bytes))

    def prepare(self) -> None:
        """Import the frameworks of the kinds that the settings name, but for those that processes of their own import.

        Blocks, for seconds. What can not be imported is logged: it is the loads' to report, if there ever are any.
        """
        streams = self._settings.servables.values()
        for kind in sorted({stream.kind for stream in streams if stream.kind and stream.isolation != "process"}):
            try:
                prepare = getattr(self._adapters.named(kind), "prepare", None)
                if prepare is not None:
                    prepare()
            except Exception as error:  # noqa: BLE001  # whatever the import of a framework raises
                logger.warning("kind %s is not prepared: %s", kind, error)

    def aspire(self, record: AspiredVersions, generation: int) -> None:
        """Aspire to the versions of one record; streams that are not in the settings are other workers' business."""
        with self._lock:
            self._standing[record.stream] = record, generation
            self._pass_on(record, generation)

    def forget(self, stream: str, generation: int) -> None:
        """Forget a stream after its tombstone."""
        with self._lock:
            self._standing.pop(stream, None)
            if stream in self._settings.servables:
                self._target.forget(stream, generation)

    def update(self, settings: Settings) -> tuple[list[str], list[str]]:
        """Serve the streams of other settings from now on; return those that were added, and those that were removed.

        A stream that was removed is forgotten, one that was added gets what is aspired of it. New options and kinds
        are for versions that are loaded from now on.
        """
        with self._lock:
            before, self._settings = self._settings.servables, settings
            self._prepare_processes(settings)
            removed = sorted(before.keys() - settings.servables.keys())
            for stream in removed:
                self._target.forget(stream, -1)
            changed = {name for name, stream in settings.servables.items() if before.get(name) != stream}
            for stream in sorted(changed & self._standing.keys()):
                self._pass_on(*self._standing[stream])
            return sorted(settings.servables.keys() - before.keys()), removed

    def close(self) -> None:
        """End the processes of versions that are still loaded, because a call hangs in them; start none any more."""
        with self._lock:
            self._adapters.spawner.end_all()
            if self._has_spawner:
                self._adapters.spawner.close()
            self._has_spawner = False

    def _prepare_processes(self, settings: Settings) -> None:
        """Start the thread that starts processes, unless none can be wanted, as nice as this one: loads are nicer."""
        may_be_wanted = any(stream.isolation != "thread" for stream in settings.servables.values())
        if may_be_wanted and not self._has_spawner:
            self._adapters.spawner.open()
            self._has_spawner = True

    def batching_of(self, stream: str) -> BatchingSettings:
        """Return how requests of a stream are batched now. From any thread."""
        set_ = self._settings.servables.get(stream)
        return BatchingSettings() if set_ is None else set_.batching

    def _pass_on(self, record: AspiredVersions, generation: int) -> None:
        stream = self._settings.servables.get(record.stream)
        if stream is not None:
            items = [self._item(stream, record, version, generation) for version in record.versions]
            self._target.set_aspired(record.stream, items, record.labels, generation)

    def _item(
        self, stream: StreamSettings, record: AspiredVersions, version: AspiredVersion, generation: int
    ) -> Aspired[Loader]:
        id_ = ServableId(record.stream, version.version)
        kind = stream.kind or record.kind
        error = LoadFailed(str(id_), "a version is a number from 0 up") if version.version < 0 else None
        roots = self._settings.storage_roots
        batching = partial(self.batching_of, record.stream)
        loader = VersionLoader(id_, version, kind, stream, batching, roots, self._adapters, self._fetcher)
        return Aspired(
            id_, None if error else loader, error, generation, kind, version.path, version.digest, version.revision
        )
