"""The storage path source of object stores: whatever fsspec has a file system for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from pipeline.clock import SystemClock
from pipeline.records import AspiredVersions
from pipeline.settings import StreamSettings, WatchSettings
from pipeline.storage.base_path import BasePath
from pipeline.storage.object_folder import ObjectFolder
from pipeline.storage.path_source import PathSource

# Listings cost money: unless a stream says otherwise, no more than one in so many seconds.
POLL_INTERVAL_S: Final = 5.0


class ObjectStoreSource(PathSource):
    """A PathSource whose base paths are URIs, such as ``s3://bucket/models/digits``; the versions are the next segment.

    The paths of its records are URIs too: workers fetch them (see Fetcher). The digest of a version is that of the
    listing, so nothing is read here but manifests, whose digests the workers check.
    """

    def __init__(
        self, streams: Mapping[str, StreamSettings], watch: WatchSettings, publish: Callable[[AspiredVersions], None]
    ) -> None:
        self._settings = watch
        base_paths = [self._base_path(name, stream) for name, stream in streams.items()]
        super().__init__(base_paths, lambda base: ObjectFolder(base.path), SystemClock(), publish)

    @classmethod
    def from_settings(
        cls, streams: Mapping[str, StreamSettings], watch: WatchSettings, publish: Callable[[AspiredVersions], None]
    ) -> ObjectStoreSource:
        """Return the source of these streams."""
        return cls(streams, watch, publish)

    def update(self, streams: Mapping[str, StreamSettings]) -> None:
        """See StoragePathSource."""
        self.set_base_paths(self._base_path(name, stream) for name, stream in streams.items())

    def _base_path(self, name: str, stream: StreamSettings) -> BasePath:
        base = BasePath.of(name, stream, self._settings)
        if stream.poll_interval_s is not None:
            return base
        return replace(base, poll_interval_s=max(base.poll_interval_s, POLL_INTERVAL_S))
