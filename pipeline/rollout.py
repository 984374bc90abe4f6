"""From an aspiration in the topic to loaders in the manager.

Whose version it is, where it may lie, which kind it is.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import LoadFailed
from pipeline.records import AspiredVersions
from pipeline.registry.loader import Loader
from pipeline.registry.servable import Servable, ServableId
from pipeline.registry.source import Aspired, Target
from pipeline.registry.source_adapter import SourceAdapter
from pipeline.servables import kinds
from pipeline.settings import Settings, StreamSettings
from pipeline.storage.cache import Cache
from pipeline.storage.fetch import Fetcher, cache_folder


class Adapters:
    """One source adapter of each kind for the life of a worker: what servables of a kind share lives there.

    Thread-safe; a kind is imported when it is first needed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._named: dict[str, SourceAdapter] = {}

    def named(self, kind: str) -> SourceAdapter:
        """Return the adapter of a kind; raises PluginError."""
        with self._lock:
            if kind not in self._named:
                self._named[kind] = kinds.load_adapter(kind)
            return self._named[kind]

    def fitting(self, path: Path) -> SourceAdapter:
        """Return the adapter whose kind the files at ``path`` are; raises UnknownKind or AmbiguousKind."""
        with self._lock:
            self._named = kinds.load_adapters() | self._named
            adapters = dict(self._named)
        return adapters[kinds.detect(path, adapters)]


@dataclass
class VersionLoader:
    """A Loader that finds out on the load pool, where a slow disk delays nobody else, what it has to load and how."""

    id: ServableId
    path: str
    kind: str | None
    options: Mapping[str, object]
    allowed_roots: tuple[str, ...]
    adapters: Adapters
    fetcher: Fetcher
    digest: str | None = None
    manifest_file: str | None = None
    _path: Path | None = None
    _loader: Loader | None = None

    def estimate_bytes(self) -> int | None:
        """See Loader."""
        return None if self._loader is None else self._loader.estimate_bytes()

    def load(self) -> Servable:
        """See Loader. Raises PathRefused, UnknownKind or AmbiguousKind before anything is opened."""
        self._release()
        self._path = path = self.fetcher.local_path(self.path, self.digest, self.allowed_roots, self.manifest_file)
        try:
            adapter = self.adapters.named(self.kind) if self.kind else self.adapters.fitting(path)
            self._loader = adapter.loader(self.id, path, self.options)
            return self._loader.load()
        except BaseException:
            self._release()
            raise

    def unload(self) -> None:
        """See Loader."""
        if self._loader is not None:
            self._loader.unload()
        self._release()

    def _release(self) -> None:
        if self._path is not None:
            self.fetcher.release(self._path)
            self._path = None


class RollOut:
    """Passes the aspirations of the streams that this worker serves on to its manager.

    Called on the follower's thread.
    """

    def __init__(self, settings: Settings, target: Target[Loader]) -> None:
        self._streams: Mapping[str, StreamSettings] = settings.servables
        self._roots = settings.storage_roots
        self._target = target
        self._adapters = Adapters()
        folder = cache_folder(settings.worker.cache_dir, os.environ)
        self._fetcher = Fetcher(Cache(folder, settings.worker.cache_limit_bytes))

    def aspire(self, record: AspiredVersions, generation: int) -> None:
        """Aspire to the versions of one record; streams that are not in the settings are other workers' business."""
        stream = self._streams.get(record.stream)
        if stream is None:
            return
        kind = stream.kind or record.kind
        items: list[Aspired[Loader]] = []
        for version in record.versions:
            id_ = ServableId(record.stream, version.version)
            loader = VersionLoader(
                id_,
                version.path,
                kind,
                stream.options,
                self._roots,
                self._adapters,
                self._fetcher,
                version.digest,
                stream.manifest if stream.complete_when == "manifest" else None,
            )
            error = LoadFailed(str(id_), "a version is a number from 0 up") if version.version < 0 else None
            data = None if error else loader
            items.append(Aspired(id_, data, error, generation, kind, version.path, version.digest))
        self._target.set_aspired(record.stream, items, record.labels, generation)

    def forget(self, stream: str, generation: int) -> None:
        """Forget a stream after its tombstone."""
        if stream in self._streams:
            self._target.forget(stream, generation)
