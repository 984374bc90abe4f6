"""The one file that a version is, or that its directory has: for kinds whose models are single files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from pipeline.errors import InvalidArtefact

_BYTES: Final = 256
_MOST_NAMES: Final = 20


def candidates(path: Path, suffixes: Sequence[str], recognises: Callable[[bytes], bool]) -> list[Path]:
    """Return the files of a version with one of ``suffixes`` that ``recognises`` accepts, or the version if it is one.

    A version that is a file has a number for a name, so there is no suffix to go by. ``recognises`` is given the first
    256 bytes and the last 256. Empty where there is nothing at ``path``.
    """
    files = sorted(file for file in path.iterdir() if file.suffix in suffixes) if path.is_dir() else [path]
    return [file for file in files if file.is_file() and recognises(_ends(file))]


def _ends(file: Path) -> bytes:
    with file.open("rb") as opened:
        first = opened.read(_BYTES)
        opened.seek(max(file.stat().st_size - _BYTES, 0))
        return first + opened.read(_BYTES)


def no_model(what: str, path: Path, looks_for: str) -> InvalidArtefact:
    """Return the error, in the name of ``what``, of a version that has no model, or several to choose from."""
    return InvalidArtefact(what, f"no model found in {path}, expected {looks_for}; got {names_in(path)}")


def names_in(path: Path) -> str:
    """Return what is at ``path``, for people: the first names of a directory, in order."""
    if not path.is_dir():
        return path.name if path.exists() else "nothing"
    names = sorted(file.name for file in path.iterdir())
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return f"{', '.join(names[:_MOST_NAMES])}{more}" if names else "nothing"


def the_one(what: str, path: Path, found: Sequence[Path], looks_for: str) -> Path:
    """Return the only element of ``found``; raise InvalidArtefact in the name of ``what`` where it is not alone."""
    if len(found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise InvalidArtefact(what, f"expected {looks_for} in {path}, got {names}")
    return found[0]
