"""A base path in an object store, through fsspec. One listing a look; no object is read to find out what it is."""

from __future__ import annotations

import errno
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, Final

from pipeline.errors import MissingExtra
from pipeline.storage.completeness import digest_of
from pipeline.storage.folder import FileStamp, Fingerprint

# What stores call the value that changes with the content, best first; the last ones are times.
_TAGS: Final = ("sha256", "ETag", "etag", "checksum", "md5Hash", "content_md5", "crc32c", "version_id")
_TIMES: Final = ("mtime", "LastModified", "last_modified", "updated", "modified", "created")


class ObjectFolder:
    """See Folder. The listing that ``children`` takes answers all questions until the next one.

    Stores have no directories: a base path without an object is missing. Credentials and endpoints come from the
    environment that the store's package reads, and from fsspec's own configuration.
    """

    has_sha256 = False

    def __init__(self, uri: str) -> None:
        self._uri = uri.rstrip("/")
        self._files: Mapping[str, Fingerprint] = {}

    def children(self) -> Iterable[str]:
        """See Folder."""
        system, path = open_store(self._uri)
        found: dict[str, list[FileStamp]] = {}
        for stamp in list_files(system, path):
            if not stamp.name:  # an object that is called as the base path
                continue
            child, _, name = stamp.name.partition("/")
            found.setdefault(child, []).append(FileStamp(name, stamp.size_bytes, stamp.tag))
        if not found:
            raise FileNotFoundError(errno.ENOENT, "no object has this prefix", self._uri)
        self._files = {child: tuple(sorted(stamps)) for child, stamps in found.items()}
        return self._files

    def path_of(self, name: str) -> str:
        """See Folder."""
        return f"{self._uri}/{name}"

    def fingerprint(self, name: str) -> Fingerprint:
        """See Folder. As of the last listing."""
        return self._files[name]

    def hash_of(self, name: str, stamp: FileStamp) -> str:
        """See Folder. The tag that the listing gave: an ETag, a checksum, else the time of the last change."""
        del name
        return str(stamp.tag)

    def read(self, name: str, file: str, limit_bytes: int) -> bytes:
        """See Folder."""
        system, path = open_store(f"{self._uri}/{name}/{file}")
        data: bytes = guarded(lambda: system.cat_file(path, 0, limit_bytes + 1))
        if len(data) > limit_bytes:
            raise OSError(errno.EFBIG, f"larger than {limit_bytes} bytes", path)
        return data

    def directories(self) -> frozenset[tuple[str, int]]:
        """See Folder. None: stores tell nobody of changes."""
        return frozenset()


def open_store(uri: str) -> tuple[Any, str]:
    """Return fsspec's file system of a URI and the path in it. Raises MissingExtra, or OSError."""
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415  # an extra; needed by streams in object stores only
    except ImportError as error:
        raise MissingExtra(uri, "fsspec is not installed", "object-storage") from error
    try:
        system, path = guarded(lambda: url_to_fs(uri))
    except ImportError as error:  # fsspec says which package the scheme needs
        raise MissingExtra(uri, str(error), "object-storage") from error
    return system, path


def list_files(system: Any, path: str) -> list[FileStamp]:
    """Return the stamp of every object below a path, named relative to it. Not from a cache. Raises OSError."""
    system.invalidate_cache()
    found: Mapping[str, Mapping[str, Any]] = guarded(lambda: system.find(path, detail=True))
    prefix = path.rstrip("/") + "/"
    return [
        FileStamp("" if name == path else name.removeprefix(prefix), int(info.get("size") or 0), _tag(info))
        for name, info in found.items()
        if (name == path or name.startswith(prefix)) and info.get("type", "file") == "file"
    ]


def identity_of(files: Iterable[FileStamp]) -> str:
    """Return the digest of a version by its listing: the one that the source publishes. Pure."""
    stamps = tuple(sorted(files))
    return digest_of(stamps, {stamp: str(stamp.tag) for stamp in stamps})


def guarded(call: Any) -> Any:
    """Return what a call to a store returns; whatever else its package raises becomes an OSError."""
    try:
        return call()
    except (OSError, ImportError):
        raise
    except Exception as error:
        raise OSError(errno.EIO, f"{type(error).__name__}: {error}") from error


def _tag(info: Mapping[str, Any]) -> Hashable:
    return next((f"{key}={info[key]}" for key in (*_TAGS, *_TIMES) if info.get(key)), "")
