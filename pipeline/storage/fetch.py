"""The worker's way to a version's files: a path of this machine is checked, a URI is downloaded into the cache."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import FetchFailed, InvalidArtefact, PathRefused
from pipeline.storage import manifest, roots
from pipeline.storage.cache import Cache
from pipeline.storage.folder import FileStamp
from pipeline.storage.local_folder import LocalFolder
from pipeline.storage.object_folder import guarded, identity_of, list_files, open_store


class Fetcher:
    """Returns local paths for the paths that records name. Thread-safe; blocks on the store, so for the load pool."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def local_path(
        self, path: str, digest: str | None, allowed: Sequence[str], manifest_file: str | None = None
    ) -> Path:
        """Return where the files of a version are, now and until ``release``.

        A path that is no URI is only checked. What is in the cache under this URI and digest is taken from there,
        without a word to the store. Else the files are downloaded, and must be those that the digest was taken from;
        with ``manifest_file``, those that it lists. Without a digest the store is asked what it has, and if it can not
        be reached, the copy used last is taken.

        Raises PathRefused outside ``allowed``, MissingExtra, InvalidArtefact where the manifest does not fit, and
        FetchFailed: the store can not be reached, or has something else now.
        """
        if not roots.is_uri(path):
            return roots.check_inside(path, allowed)
        uri = roots.check_uri_inside(path, allowed)
        if digest is not None:
            cached = self._cache.get(uri, digest)
            if cached is not None:
                return cached
        try:
            return self._download(uri, digest, manifest_file)
        except OSError as error:
            cached = None if digest is not None else self._cache.last_of(uri)
            if cached is not None:
                return cached
            raise FetchFailed(uri, f"it can not be fetched: {error}") from error

    def release(self, path: Path) -> None:
        """Let the cache give up the files under a path that ``local_path`` returned. Harmless for any other path."""
        self._cache.release(path)

    def _download(self, uri: str, digest: str | None, manifest_file: str | None) -> Path:
        system, remote = open_store(uri)
        files = _list(system, remote, uri)
        found = identity_of(files)
        if digest is not None and found != digest:
            raise FetchFailed(uri, f"the store has other content now, {found}; expected {digest}")

        def fill(target: Path) -> None:
            for stamp in files:
                _get(system, remote, target, stamp)
            if identity_of(_list(system, remote, uri)) != found:
                raise FetchFailed(uri, "it was written to while it was being downloaded")
            if manifest_file:
                _verify(uri, target, manifest_file)

        return self._cache.put(uri, found, sum(stamp.size_bytes for stamp in files), fill)


def cache_folder(configured: str, environ: Mapping[str, str]) -> Path:
    """Return the folder that is set, else the one for this user: below XDG_CACHE_HOME, or ``~/.cache``."""
    if configured:
        return Path(configured)
    home = Path(environ.get("HOME") or tempfile.gettempdir())
    return Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "penstock" / "versions"


def _list(system: Any, remote: str, uri: str) -> list[FileStamp]:
    files = sorted(list_files(system, remote))
    if not files:
        raise FileNotFoundError(f"{uri}: no object has this name or prefix")
    for stamp in files:
        if stamp.name.startswith("/") or "\0" in stamp.name or {"..", "."} & set(stamp.name.split("/")):
            raise PathRefused(uri, f"its object {stamp.name!r} would lie outside the version")
    return files


def _get(system: Any, remote: str, target: Path, stamp: FileStamp) -> None:
    local = target / stamp.name if stamp.name else target
    local.parent.mkdir(parents=True, exist_ok=True)
    guarded(lambda: system.get_file(f"{remote}/{stamp.name}" if stamp.name else remote, os.fspath(local)))
    if local.stat().st_size != stamp.size_bytes:
        raise FetchFailed(remote, f"{stamp.name!r} came with {local.stat().st_size} bytes of {stamp.size_bytes}")


def _verify(uri: str, target: Path, manifest_file: str) -> None:
    folder = LocalFolder(os.fspath(target.parent))
    list(folder.children())
    try:
        listed = manifest.parse(folder.read(target.name, manifest_file, manifest.LIMIT_BYTES))
    except (OSError, ValueError) as error:
        raise InvalidArtefact(uri, f"its manifest {manifest_file}: {error}") from error
    stamps = {stamp.name: stamp for stamp in folder.fingerprint(target.name)}
    hashes = {name: folder.hash_of(target.name, stamps[name]) for name in listed if name in stamps}
    wrong = manifest.differing(hashes, listed) + sorted(set(listed).difference(stamps))
    if wrong:
        raise InvalidArtefact(uri, f"{wrong[0]!r} is not what {manifest_file} lists ({len(wrong)} such files)")
