"""Whether a version has been copied completely, and which content it has."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from pipeline.errors import PathRefused

_BLOCK_BYTES: Final = 1 << 20
_IN_PROGRESS: Final = (".tmp", ".part")


class FileStamp(NamedTuple):
    """One file: its name relative to the version, and what changes when somebody writes to it."""

    name: str
    size_bytes: int
    mtime_ns: int

    @property
    def is_content(self) -> bool:
        """Whether the file belongs to the version; hidden files and those of a copy in progress do not."""
        return not any(part.startswith(".") or part.endswith(_IN_PROGRESS) for part in self.name.split("/"))


Fingerprint = tuple[FileStamp, ...]


def take_fingerprint(path: Path, base_path: Path) -> Fingerprint:
    """Return the stamps of all files of a version (a directory, or one file), sorted by name.

    Temporary files count: while a copy goes on, the fingerprint changes. Raises PathRefused when the version, or a link
    in it, leads out of ``base_path``, and OSError where something can not be read.
    """
    root = base_path.resolve()
    if not path.resolve().is_relative_to(root):
        raise PathRefused(str(path), f"it is {path.resolve()}, outside its base path {root}")
    if not path.is_dir():
        status = path.stat()
        return (FileStamp("", status.st_size, status.st_mtime_ns),)
    return tuple(sorted(_stamps(path, "", root, frozenset())))


def has_content(fingerprint: Fingerprint) -> bool:
    """Whether at least one file of the version is not empty."""
    return any(stamp.is_content and stamp.size_bytes > 0 for stamp in fingerprint)


def digest_of(path: Path, fingerprint: Fingerprint) -> str:
    """Return ``sha256:<hex>`` over names, sizes and bytes of the version's files. Reads everything; raises OSError."""
    digest = hashlib.sha256()
    for stamp in fingerprint:
        if not stamp.is_content:
            continue
        name = os.fsencode(stamp.name)
        digest.update(len(name).to_bytes(4, "little") + name + stamp.size_bytes.to_bytes(8, "little"))
        with (path / stamp.name if stamp.name else path).open("rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return f"sha256:{digest.hexdigest()}"


@dataclass(frozen=True)
class Sighting:
    """What is known of one version: how its files look now, since when, and the last complete content."""

    path: str
    fingerprint: Fingerprint
    since_s: float
    is_digested: bool = False
    digest: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether a complete content is known, be it the one before the present files."""
        return self.digest is not None

    def is_due(self, now_s: float, quiet_period_s: float) -> bool:
        """Whether the files have rested for long enough, and their digest is not known yet."""
        return not self.is_digested and has_content(self.fingerprint) and now_s - self.since_s >= quiet_period_s


def sight(before: Sighting | None, path: str, fingerprint: Fingerprint, now_s: float) -> Sighting:
    """Return what is known after another look. While files change, the last complete content remains. Pure."""
    if before is None or before.path != path or not has_content(fingerprint):
        return Sighting(path, fingerprint, now_s)
    if before.fingerprint == fingerprint:
        return before
    return Sighting(path, fingerprint, now_s, digest=before.digest)


def _stamps(folder: Path, prefix: str, root: Path, above: frozenset[Path]) -> Iterator[FileStamp]:
    real = folder.resolve()
    if real in above:  # a link to a folder that contains it
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            path, name = Path(entry.path), prefix + entry.name
            if entry.is_symlink() and not path.resolve().is_relative_to(root):
                raise PathRefused(str(path), f"it leads to {path.resolve()}, outside the base path {root}")
            if entry.is_dir():
                yield from _stamps(path, name + "/", root, above | {real})
            elif entry.is_file():
                status = entry.stat()
                yield FileStamp(name, status.st_size, status.st_mtime_ns)
