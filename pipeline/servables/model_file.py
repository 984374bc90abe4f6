"""The one file that a version is, or that its directory has: for kinds whose models are single files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pipeline.errors import InvalidArtefact

_HEAD_BYTES: Final = 256


def candidates(path: Path, suffixes: Sequence[str], begins: Callable[[bytes], bool]) -> list[Path]:
    """Return the files of a version, or the version itself, with one of ``suffixes`` that ``begins`` recognises.

    ``begins`` is given the first 256 bytes.
    """
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    return [file for file in files if file.suffix in suffixes and file.is_file() and begins(head(file))]


def head(file: Path) -> bytes:
    """Return the first bytes of a file."""
    with file.open("rb") as opened:
        return opened.read(_HEAD_BYTES)


def the_one(what: str, path: Path, found: Sequence[Path], looks_for: str) -> Path:
    """Return the only element of ``found``; raise InvalidArtefact in the name of ``what`` where it is not alone."""
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise InvalidArtefact(what, f"expected {looks_for} in {path}, got {names}")
    return found[0]
