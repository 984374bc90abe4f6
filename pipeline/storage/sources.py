"""The storage path sources of a deployment: one for each storage plugin that its streams name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from pipeline import plugins
from pipeline.records import AspiredVersions
from pipeline.settings import Settings, StreamSettings, WatchSettings

Publish = Callable[[AspiredVersions], None]


class StoragePathSource(Protocol):
    """Finds the versions of some streams and publishes the full set of a stream whenever it changes.

    Found by entry point ``penstock.storage``, and made by ``from_settings(streams, watch, publish)`` of what it names.
    """

    def step(self) -> None:
        """Look at every stream once; what fails is told again at the next step. Never raises."""
        ...

    def start(self) -> None:
        """Make steps on a thread of its own until ``stop``."""
        ...

    def stop(self, timeout_s: float = 5.0) -> None:
        """Make no further step; wait for the one that is running, at most ``timeout_s``."""
        ...


class Sources:
    """All of them as one. Raises PluginError when a stream names a storage that is not installed."""

    def __init__(self, settings: Settings, publish: Publish) -> None:
        streams: dict[str, dict[str, StreamSettings]] = {}
        for name, stream in settings.servables.items():
            streams.setdefault(stream.storage, {})[name] = stream
        self._sources = [_make(storage, group, settings.watch, publish) for storage, group in streams.items()]

    def step(self) -> None:
        """See StoragePathSource."""
        for source in self._sources:
            source.step()

    def start(self) -> None:
        """See StoragePathSource."""
        for source in self._sources:
            source.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """See StoragePathSource."""
        for source in self._sources:
            source.stop(timeout_s)


def _make(
    storage: str, streams: Mapping[str, StreamSettings], watch: WatchSettings, publish: Publish
) -> StoragePathSource:
    source: StoragePathSource = plugins.find(plugins.STORAGE, storage).from_settings(streams, watch, publish)
    return source
