"""The storage path source of file systems."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pipeline.clock import Clock, SystemClock
from pipeline.records import AspiredVersions
from pipeline.settings import StreamSettings, WatchSettings
from pipeline.storage.base_path import BasePath
from pipeline.storage.folder import Folder
from pipeline.storage.local_folder import LocalFolder
from pipeline.storage.path_source import PathSource


class FileSystemSource(PathSource):
    """A PathSource whose base paths are directories. A version is a directory, or a single file.

    A version whose files lead out of the base path, or are no regular files, is ignored. Where the kernel tells of
    changes they are seen in milliseconds; what lies on a network file system, or in a container of another kernel, is
    polled.
    """

    def __init__(
        self,
        base_paths: Iterable[BasePath],
        clock: Clock,
        publish: Callable[[AspiredVersions], None] | None = None,
        *,
        publisher: str = "",
        notifies: bool = False,
        folder_of: Callable[[BasePath], Folder] = lambda base: LocalFolder(base.path),
    ) -> None:
        super().__init__(base_paths, folder_of, clock, publish, publisher=publisher, notifies=notifies)
        self._watch = WatchSettings()

    @classmethod
    def from_settings(
        cls, streams: Mapping[str, StreamSettings], watch: WatchSettings, publish: Callable[[AspiredVersions], None]
    ) -> FileSystemSource:
        """Return the source of these streams."""
        base_paths = [BasePath.of(name, stream, watch) for name, stream in streams.items()]
        source = cls(base_paths, SystemClock(), publish, notifies=watch.notify == "auto")
        source._watch = watch
        return source

    def update(self, streams: Mapping[str, StreamSettings]) -> None:
        """See StoragePathSource."""
        self.set_base_paths(BasePath.of(name, stream, self._watch) for name, stream in streams.items())
