"""The zip files that PyTorch saves, checked before its own, trusting reader opens them."""

from __future__ import annotations

import errno
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from pipeline.errors import InvalidArtefact
from pipeline.servables.framework import first_line
from pipeline.servables.zip_members import DAMAGED, check_members, chunks

# Code and debug information may be compressed, tensors are not.
_MOST_EXPANSION: Final = 8
# What PyTorch reads in a second where the file is in memory and the machine is quiet, and how much of it takes longer
# than others should wait, with a margin for a busy one.
_BYTES_PER_S: Final = 1_800_000_000
_LONG_BYTES: Final = 64 << 20


class Archive:
    """One checked zip file: a folder of records; ``sizes`` in bytes by name without the folder, ``records`` as read."""

    def __init__(self, sizes: dict[str, int], records: dict[str, bytes]) -> None:
        self.sizes = sizes
        self.records = records


def is_long(held_bytes: int) -> bool:
    """Whether PyTorch, which holds the GIL while it reads so many bytes at a time, does so for long."""
    return held_bytes >= _LONG_BYTES


def held_note(held_bytes: int, instead: str) -> tuple[str, ...]:
    """Return what is to be known of a load in which PyTorch reads so many bytes at a time."""
    if not is_long(held_bytes):
        return ()
    about_s = held_bytes / _BYTES_PER_S
    return (f"its load holds the Python lock of its process for about {about_s:.1f} s; {instead} would not",)


def is_zip(file: Path) -> bool:
    """Whether the file begins as a zip file does."""
    with file.open("rb") as opened:
        return opened.read(4) == b"PK\x03\x04"


def read_archive(what: str, file: Path, is_bulk: Callable[[str], bool]) -> Archive:
    """Check the archive, and read all of its records but the bulk of tensors; raises InvalidArtefact.

    Checked are the names (one folder, nothing twice, nothing that leads out of it), the sizes against that of the
    file, and the checksum of all that is not bulk, because PyTorch checks none. A flipped bit of a tensor is a tensor.
    """
    if not is_zip(file):
        raise InvalidArtefact(what, f"{file.name} is no zip file, as PyTorch writes since version 1.6; save it again")
    try:
        with zipfile.ZipFile(file) as opened:
            check_members(opened, file.stat().st_size, _MOST_EXPANSION)
            members = _by_record(what, file, opened.infolist())
            records = {name: b"".join(chunks(opened, info)) for name, info in members.items() if not is_bulk(name)}
    except DAMAGED as error:
        raise InvalidArtefact(what, f"{file.name} is damaged: {error}") from error
    except OSError as error:
        if error.errno != errno.EINVAL:  # a place outside of the file; any other may pass by itself
            raise
        raise InvalidArtefact(what, f"{file.name} is damaged: it points outside of itself") from error
    return Archive({name: info.file_size for name, info in members.items()}, records)


def record_sizes(file: Path) -> dict[str, int]:
    """Return the size in bytes of each record by its name; nothing for a file that ``read_archive`` would refuse.

    Reads the zip file's directory alone.
    """
    try:
        with zipfile.ZipFile(file) as opened:
            check_members(opened, file.stat().st_size, _MOST_EXPANSION)
            return {name: info.file_size for name, info in _by_record("", file, opened.infolist()).items()}
    except (*DAMAGED, OSError, InvalidArtefact):
        return {}


def check_as_read_by_torch(what: str, file: Path, archive: Archive, torch: Any) -> None:
    """Raise InvalidArtefact unless PyTorch's own reader finds the same records; two readers can be made to differ."""
    try:
        reader = torch._C.PyTorchFileReader(str(file))  # noqa: SLF001  # what torch.load, jit.load and export.load use
        names = set(reader.get_all_records())
        differing = [name for name, content in archive.records.items() if reader.get_record(name) != content]
    except RuntimeError as error:
        raise InvalidArtefact(what, f"PyTorch can not read {file.name}: {first_line(error)}") from error
    if differing or names != set(archive.sizes):
        raise InvalidArtefact(what, f"{file.name} is a zip file that PyTorch and Python read differently")


def _by_record(what: str, file: Path, members: list[zipfile.ZipInfo]) -> dict[str, zipfile.ZipInfo]:
    records: dict[str, zipfile.ZipInfo] = {}
    roots = set()
    for info in members:
        root, _, record = info.filename.partition("/")
        parts = record.split("/")
        if not info.filename.isascii() or {"", "."} & {root, *parts} or record in records:
            raise InvalidArtefact(what, f"{file.name} has a member that PyTorch does not write: {info.filename!r}")
        roots.add(root)
        records[record] = info
    if len(roots) != 1:
        raise InvalidArtefact(what, f"{file.name} has {len(roots)} folders, expected one")
    return records
