"""The storage path sources of a deployment: one for each storage plugin that its streams name."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Protocol

from pipeline import plugins
from pipeline.records import AspiredVersions
from pipeline.settings import Settings, StreamSettings

logger = logging.getLogger(__name__)

Publish = Callable[[AspiredVersions], None]


class StoragePathSource(Protocol):
    """Finds the versions of some streams and publishes the full set of a stream whenever it changes.

    Found by entry point ``penstock.storage``, and made by ``from_settings(streams, watch, publish)`` of what it names.
    ``publish`` may block while the broker is away, and raise ConnectorError; it may be called from any thread.
    """

    def step(self) -> None:
        """Look at every stream once; what fails is told again at the next step. Never raises."""
        ...

    def start(self) -> None:
        """Make steps on threads of its own until ``stop``."""
        ...

    def stop(self, timeout_s: float = 5.0) -> None:
        """Make no further step; wait for the one that is running, at most ``timeout_s``."""
        ...

    def update(self, streams: Mapping[str, StreamSettings]) -> None:
        """Replace the set of streams, from any thread, before or after the start.

        A stream that is left out gets one record with the empty set, one that is new its first record; one that is kept
        gets a record only if what is aspired of it changes, and never an empty one in between. A source without this
        method has its streams for life: the settings are reloaded without it.
        """
        ...


class Sources:
    """All of them as one. Raises PluginError when a stream names a storage that is not installed."""

    def __init__(self, settings: Settings, publish: Publish) -> None:
        self._publish = publish
        self._watch = settings.watch
        self._sources: dict[str, StoragePathSource] = {}
        self._owners: dict[str, str] = {}
        self._is_started = False
        self.update(settings)

    def update(self, settings: Settings) -> None:
        """Replace the set of streams. Raises PluginError as at the start, and then changes nothing.

        Not for two threads at a time.
        """
        groups: dict[str, dict[str, StreamSettings]] = {storage: {} for storage in self._sources}
        for name, stream in settings.servables.items():
            groups.setdefault(stream.storage, {})[name] = stream
        kinds = {storage: plugins.find(plugins.STORAGE, storage) for storage in groups if storage not in self._sources}
        self._owners = {name: stream.storage for name, stream in settings.servables.items()}
        for storage, streams in groups.items():
            if storage in kinds:
                self._add(storage, kinds[storage].from_settings(streams, self._watch, self._publisher(storage)))
            elif hasattr(self._sources[storage], "update"):
                self._sources[storage].update(streams)
            else:
                logger.warning("storage %s can not change its streams at run time; restart the watcher", storage)

    def step(self) -> None:
        """See StoragePathSource."""
        for source in self._sources.values():
            source.step()

    def start(self) -> None:
        """See StoragePathSource."""
        self._is_started = True
        for source in self._sources.values():
            source.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """See StoragePathSource."""
        for source in self._sources.values():
            source.stop(timeout_s)

    def _add(self, storage: str, source: StoragePathSource) -> None:
        self._sources[storage] = source
        if self._is_started:
            source.start()

    def _publisher(self, storage: str) -> Publish:
        def publish(record: AspiredVersions) -> None:
            # A stream that has moved to another storage is that one's; here it has only been left out.
            if self._owners.get(record.stream, storage) == storage:
                self._publish(record)

        return publish
