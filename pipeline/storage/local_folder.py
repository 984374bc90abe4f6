"""A base path in a file system. It opens regular files only, follows no link out, and is never stopped by a FIFO."""

# ruff: noqa: PTH116, PTH118, PTH208  # called for every file at every look; a Path for each costs more than the look

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from pipeline.errors import PathRefused
from pipeline.storage import mounts
from pipeline.storage.folder import MAX_FILES, FileStamp, Fingerprint

_BLOCK_BYTES: Final = 1 << 20
# A base path with more directories than this is left to polling.
_MAX_WATCHED: Final = 512


class LocalFolder:
    """See Folder. ``can_notify`` says whether changes below a directory are told; by default the mount decides."""

    has_sha256 = True

    def __init__(self, path: str, can_notify: Callable[[str], bool] = mounts.can_notify) -> None:
        self._path = path
        self._can_notify = can_notify
        self._root = path
        self._base: tuple[int, int] | None = None
        self._lies_on_notifying = self._is_notified = False
        self._directories: set[tuple[str, int]] = set()

    def children(self) -> Iterable[str]:
        """See Folder."""
        self._root = os.path.realpath(self._path)
        self._directories.clear()
        status = os.stat(self._root)
        names = os.listdir(self._root)
        if self._base != (status.st_dev, status.st_ino):  # new, or made anew: ask once what it lies on
            self._base = (status.st_dev, status.st_ino)
            self._lies_on_notifying = self._can_notify(self._root)
        self._is_notified = self._lies_on_notifying
        self._note(self._root, status)
        return names

    def path_of(self, name: str) -> str:
        """See Folder."""
        return os.path.join(self._path, name)

    def fingerprint(self, name: str) -> Fingerprint:
        """See Folder."""
        path = os.path.join(self._root, name)
        status = os.lstat(path)
        if stat.S_ISLNK(status.st_mode):
            path = self._inside(path)
            status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            return tuple(sorted(self._stamps(path, status)))
        return (_stamp(path, "", status),)

    def hash_of(self, name: str, stamp: FileStamp) -> str:
        """See Folder."""
        digest = hashlib.sha256()
        descriptor = _open_regular(self._file(name, stamp.name))
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
        return digest.hexdigest()

    def read(self, name: str, file: str, limit_bytes: int) -> bytes:
        """See Folder."""
        path = self._file(name, file)
        with os.fdopen(_open_regular(path), "rb") as opened:
            data = opened.read(limit_bytes + 1)
        if len(data) > limit_bytes:
            raise OSError(errno.EFBIG, f"larger than {limit_bytes} bytes", path)
        return data

    def directories(self) -> frozenset[tuple[str, int]]:
        """See Folder."""
        return frozenset(self._directories) if self._is_notified else frozenset()

    def _file(self, name: str, file: str) -> str:
        return os.path.join(self._root, name, file) if file else os.path.join(self._root, name)

    def _inside(self, path: str) -> str:
        real = os.path.realpath(path)
        if real != self._root and not real.startswith(self._root.rstrip("/") + "/"):
            raise PathRefused(path, f"it leads to {real}, outside the base path {self._root}")
        return real

    def _note(self, path: str, status: os.stat_result) -> None:
        # What is mounted inside may be of another kind, and hang.
        if self._base is None or status.st_dev != self._base[0] or len(self._directories) >= _MAX_WATCHED:
            self._is_notified = False
        else:
            self._directories.add((path, status.st_ino))

    def _stamps(self, top: str, top_status: os.stat_result) -> Iterator[FileStamp]:
        # Each folder with its real path, the prefix of its names, and the real paths above it.
        left: list[tuple[str, str, frozenset[str]]] = [(top, "", frozenset([top]))]
        self._note(top, top_status)
        count = 0
        while left:
            folder, prefix, above = left.pop()
            for path, name, status in self._entries(folder, prefix):
                count += 1
                if count > MAX_FILES:
                    raise PathRefused(top, f"it has more than {MAX_FILES} files")
                if not stat.S_ISDIR(status.st_mode):
                    yield _stamp(path, name, status)
                elif path not in above:  # else a link to a folder that contains it
                    self._note(path, status)
                    left.append((path, name + "/", above | {path}))

    def _entries(self, folder: str, prefix: str) -> Iterator[tuple[str, str, os.stat_result]]:
        with os.scandir(folder) as entries:
            for entry in entries:
                path = self._inside(entry.path) if entry.is_symlink() else entry.path
                try:
                    status = os.stat(path)
                except FileNotFoundError:  # a link to what is not there yet, or a file that has just gone
                    continue
                yield path, prefix + entry.name, status


def _stamp(path: str, name: str, status: os.stat_result) -> FileStamp:
    if not stat.S_ISREG(status.st_mode):
        raise PathRefused(path, "it is no regular file, and opening it could block for ever")
    return FileStamp(name, status.st_size, (status.st_mtime_ns, status.st_ctime_ns, status.st_ino))


def _open_regular(path: str) -> int:
    """Open without ever waiting for the other end of a FIFO, whatever has taken the file's place since it was seen."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "no regular file", path)
