"""The source adapter of lookup tables, and which file of a version is the table."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from pipeline.errors import InvalidArtefact
from pipeline.registry.options import check_options
from pipeline.registry.servable import ServableId
from pipeline.registry.simple_loader import SimpleLoader
from pipeline.servables.lookup import table
from pipeline.servables.lookup.options import LookupOptions
from pipeline.servables.lookup.servable import LookupServable

_SUFFIXES: Final = (".csv", ".avro", ".parquet")
_WARM_UP: Final = "warm-up.avro"  # what pipeline.warm_up calls the requests of a version
_MIB: Final = 1 << 20


class LookupAdapter:
    """Source adapter of lookup tables: a version is one file, or a directory with exactly one that may be a table."""

    kind = "lookup"
    looks_for = "exactly one *.csv, *.avro or *.parquet file"

    def detect(self, path: Path) -> bool:
        """See SourceAdapter. A version that is a file is a table of the format that its name or its first bytes say."""
        if not path.is_file():
            return len(_tables(path)) == 1
        if path.suffix in _SUFFIXES or table.ending(path) != ".csv":
            return True
        with path.open("rb") as file:
            return b"," in file.readline(65536)

    def loader(self, id: ServableId, path: Path, options: Mapping[str, Any]) -> SimpleLoader:  # noqa: A002  # TF Serving's word
        """See SourceAdapter. ``options`` are the fields of LookupOptions."""
        checked = check_options(id, options, LookupOptions)
        return SimpleLoader(
            partial(_load, str(id), path, checked),
            partial(_estimate_bytes, str(id), path, checked),
            estimate_loaded_bytes=lambda servable: servable.memory_bytes,
        )


def _load(what: str, path: Path, options: LookupOptions) -> LookupServable:
    return table.make(what, _find(what, path), options)


def _estimate_bytes(what: str, path: Path, options: LookupOptions) -> int:
    """What is not in files, twice, as it is copied once; or what so many bytes of a CSV file can become at most."""
    most_bytes = 2 * options.memory_map_above_bytes + table.SMALL_ROWS * table.OBJECT_BYTES + 64 * _MIB
    file = _find(what, path)
    return most_bytes if table.ending(file) != ".csv" else min(most_bytes, 50 * file.stat().st_size)


def _find(what: str, path: Path) -> Path:
    if path.is_file():
        return path
    files = _tables(path)
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise InvalidArtefact(what, f"expected {LookupAdapter.looks_for}, got {names}")
    return files[0]


def _tables(path: Path) -> list[Path]:
    files = path.iterdir() if path.is_dir() else ()
    return sorted(file for file in files if file.suffix in _SUFFIXES and file.name != _WARM_UP and file.is_file())
