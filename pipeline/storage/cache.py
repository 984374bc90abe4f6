"""The versions that a worker has downloaded: a folder that survives restarts and that several workers can share."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, NamedTuple

_CONTENT: Final = "content"
_FACTS: Final = "facts.json"
_PARTIAL: Final = ".partial"
_LOCK: Final = ".lock"
_TRIES: Final = 100
_PAUSE_S: Final = 0.05


class Facts(NamedTuple):
    """What is written beside a version in the cache."""

    uri: str
    size_bytes: int


class Cache:
    """Versions by URI and digest. Whoever has a path from it holds a lock of the kernel, and that version stays.

    ``limit_bytes`` bounds what the folder holds: before a download, versions that no process uses are removed, the one
    used longest ago first. What is in use is never removed, so the limit can be exceeded. Thread-safe. Raises OSError.
    """

    def __init__(self, folder: Path, limit_bytes: int) -> None:
        self._folder = folder
        self._limit_bytes = limit_bytes
        self._lock = threading.Lock()
        self._held: dict[Path, list[int]] = {}

    def get(self, uri: str, digest: str) -> Path | None:
        """Return where the files are, until ``release``; None where they are not here, or are damaged."""
        entry = self._entry(uri, digest)
        return self._take(entry) if entry.is_dir() else None

    def last_of(self, uri: str) -> Path | None:
        """Return where the files of a URI are that were used last, until ``release``, whatever their digest."""
        entries = [entry for entry in self._entries() if (facts := _facts(entry)) and facts.uri == uri]
        for entry in sorted(entries, key=_used_at, reverse=True):
            content = self._take(entry)
            if content is not None:
                return content
        return None

    def put(self, uri: str, digest: str, size_bytes: int, fill: Callable[[Path], None]) -> Path:
        """Have ``fill(path)`` make the version's file or directory; return where it is then, until ``release``.

        It is filled under another name and renamed. Where two fill the same version at a time, the second waits and
        takes what the first has made. What ``fill`` raises is raised, and nothing is kept.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        entry = self._entry(uri, digest)
        for _ in range(_TRIES):
            content = self._take(entry)  # waits for whoever fills it just now
            if content is not None:
                return content
            with contextlib.suppress(BlockingIOError):  # somebody looks at it at this moment, or was quicker
                return self._fill_locked(entry, Facts(uri, size_bytes), fill)
            time.sleep(_PAUSE_S)
        raise OSError(errno.EBUSY, "its copy in the cache is damaged, and still in use", str(entry))

    def _fill_locked(self, entry: Path, facts: Facts, fill: Callable[[Path], None]) -> Path:
        descriptor = self._acquire(entry, fcntl.LOCK_EX | fcntl.LOCK_NB)
        try:
            self._make_room(facts.size_bytes)
            self._fill(entry, facts, fill)
            # Whoever removes versions does not wait for a lock, so none slips in while this one is let down.
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        except BaseException:
            os.close(descriptor)
            raise
        return self._hold(entry, descriptor)

    def release(self, path: Path) -> None:
        """Let go of a path once; harmless for one that is not held."""
        with self._lock:
            descriptors = self._held.get(path)
            if not descriptors:
                return
            os.close(descriptors.pop())
            if not descriptors:
                del self._held[path]

    def _entry(self, uri: str, digest: str) -> Path:
        return self._folder / hashlib.sha256(f"{uri}\0{digest}".encode()).hexdigest()[:40]

    def _entries(self) -> Iterator[Path]:
        with contextlib.suppress(FileNotFoundError):
            for path in self._folder.iterdir():
                if path.is_dir() and path.suffix != _PARTIAL:
                    yield path

    def _take(self, entry: Path) -> Path | None:
        descriptor = self._acquire(entry, fcntl.LOCK_SH)
        if not _is_whole(entry):
            os.close(descriptor)
            return None
        _touch(entry)
        return self._hold(entry, descriptor)

    def _hold(self, entry: Path, descriptor: int) -> Path:
        content = entry / _CONTENT
        with self._lock:
            self._held.setdefault(content, []).append(descriptor)
        return content

    def _acquire(self, entry: Path, mode: int) -> int:
        """Return a descriptor that holds the lock of an entry. Raises BlockingIOError where ``mode`` does not wait."""
        path = entry.with_suffix(_LOCK)
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                fcntl.flock(descriptor, mode)
                if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # the file was removed by whoever held it

    def _fill(self, entry: Path, facts: Facts, fill: Callable[[Path], None]) -> None:
        partial = entry.with_suffix(_PARTIAL)
        for left in (partial, entry):
            shutil.rmtree(left, ignore_errors=True)
        partial.mkdir()
        try:
            fill(partial / _CONTENT)
            (partial / _FACTS).write_text(json.dumps(facts))
            partial.rename(entry)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _make_room(self, size_bytes: int) -> None:
        entries = sorted(self._entries(), key=_used_at)
        sizes = {entry: facts.size_bytes if (facts := _facts(entry)) else 0 for entry in entries}
        too_many = sum(sizes.values()) + size_bytes - self._limit_bytes
        for entry in entries:
            if too_many <= 0:
                return
            if self._remove(entry):
                too_many -= sizes[entry]

    def _remove(self, entry: Path) -> bool:
        try:
            descriptor = self._acquire(entry, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:  # somebody uses it, or fills it just now
            return False
        try:
            shutil.rmtree(entry, ignore_errors=True)
            shutil.rmtree(entry.with_suffix(_PARTIAL), ignore_errors=True)
            entry.with_suffix(_LOCK).unlink(missing_ok=True)
        finally:
            os.close(descriptor)
        return True


def _facts(entry: Path) -> Facts | None:
    try:
        return Facts(*json.loads((entry / _FACTS).read_text()))
    except (OSError, ValueError, TypeError):
        return None


def _is_whole(entry: Path) -> bool:
    """Whether the bytes of an entry are as many as they were: a machine may have lost power after the rename."""
    facts, content = _facts(entry), entry / _CONTENT
    files = content.rglob("*") if content.is_dir() else [content]
    return facts is not None and sum(file.stat().st_size for file in files if file.is_file()) == facts.size_bytes


def _touch(entry: Path) -> None:
    os.utime(entry)


def _used_at(entry: Path) -> float:
    try:
        return entry.stat().st_mtime
    except FileNotFoundError:
        return 0.0
