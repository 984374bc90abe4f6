"""Lookup tables: a CSV file is a servable, its first column the key, the others the outputs."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.errors import InvalidArtefact, InvalidSettings, ModelFailed
from pipeline.records import DEFAULT_SIGNATURE
from pipeline.registry.options import Options, check_options
from pipeline.registry.servable import ServableId, Signature, TensorSpec
from pipeline.tensors import Array

_DATATYPES: Final = ("BYTES", "FP64")


class LookupOptions(Options, frozen=True):
    """Options of a table.

    ``header``: the first line names the columns. ``columns`` names the value columns where there is no header; else a
    single one is ``value``, several are ``value_1``, ``value_2`` and so on. ``datatypes``: BYTES (default) or FP64 by
    column. ``missing``: what a key that is not in the table gets, an ``error``, or ``default`` (NaN in FP64 columns)
    with false in the additional output ``found`` (``empty``).
    """

    header: bool = False
    delimiter: str = ","
    columns: tuple[str, ...] = ()
    datatypes: dict[str, str] = {}  # noqa: RUF012  # msgspec makes a new one for each
    missing: str = "error"
    default: str = ""


class LookupAdapter:
    """Source adapter of lookup tables: a version is one CSV file, or a directory with exactly one ``*.csv``."""

    kind = "lookup"
    looks_for = "exactly one *.csv file"

    def detect(self, path: Path) -> bool:
        """See SourceAdapter."""
        if path.is_file():
            with path.open("rb") as file:
                return b"," in file.readline(65536)
        return len(list(path.glob("*.csv"))) == 1

    def loader(self, id: ServableId, path: Path, options: Mapping[str, Any]) -> LookupLoader:  # noqa: A002  # TF Serving's word
        """See SourceAdapter. ``options`` are the fields of LookupOptions."""
        checked = check_options(id, options, LookupOptions)
        if checked.missing not in {"error", "empty"}:
            raise InvalidSettings(f"options of {id.name}", f"missing: {checked.missing!r}, expected error or empty")
        if len(checked.delimiter) != 1:
            raise InvalidSettings(f"options of {id.name}", f"delimiter: {checked.delimiter!r}, expected one character")
        return LookupLoader(id, path, checked)


class LookupLoader:
    """See Loader."""

    def __init__(self, id: ServableId, path: Path, options: LookupOptions) -> None:  # noqa: A002  # TF Serving's word
        self._id = id
        self._path = path
        self._options = options

    def estimate_bytes(self) -> int | None:
        """See Loader: each cell becomes an object of its own."""
        return self._find().stat().st_size * 8

    def load(self) -> LookupServable:
        """See Loader. Raises InvalidArtefact, naming the line, for anything that is not a table."""
        try:
            rows = list(self._rows())
        except (csv.Error, UnicodeDecodeError) as error:
            raise InvalidArtefact(str(self._id), f"not a CSV file in UTF-8: {error}") from error
        names = self._names(rows)
        if not rows:
            raise InvalidArtefact(str(self._id), "the table has no rows")
        index: dict[bytes, int] = {}
        for row, (line, cells) in enumerate(rows):
            if len(cells) != len(names) + 1:
                reason = f"line {line} has {len(cells)} columns, expected {len(names) + 1}"
                raise InvalidArtefact(str(self._id), reason)
            if index.setdefault(cells[0].encode(), row) != row:
                raise InvalidArtefact(str(self._id), f"line {line} repeats the key {cells[0]!r}")
        columns = {name: self._column(name, place, rows) for place, name in enumerate(names, 1)}
        return LookupServable(self._id, index, columns, has_found=self._options.missing == "empty")

    def unload(self) -> None:
        """See Loader: the table goes with its servable."""

    def _find(self) -> Path:
        if self._path.is_file():
            return self._path
        files = sorted(self._path.glob("*.csv"))
        if len(files) != 1:
            names = ", ".join(file.name for file in files) or "none"
            raise InvalidArtefact(str(self._id), f"expected exactly one *.csv file, got {names}")
        return files[0]

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        with self._find().open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=self._options.delimiter, strict=True)
            for cells in reader:
                if cells:
                    yield reader.line_num, cells

    def _names(self, rows: list[tuple[int, list[str]]]) -> Sequence[str]:
        """Return the names of the value columns; takes the header off the rows where there is one."""
        names: Sequence[str] = self._options.columns
        if self._options.header and rows:
            header = rows.pop(0)[1]
            names = names or header[1:]
        elif not names and rows:
            count = len(rows[0][1]) - 1
            names = ["value"] if count == 1 else [f"value_{number}" for number in range(1, count + 1)]
        if rows and (not names or len(set(names)) != len(names) or {"key", "found"} & set(names)):
            reason = f"value columns are {', '.join(names) or 'none'}; expected distinct names other than key and found"
            raise InvalidArtefact(str(self._id), reason)
        unknown = set(self._options.datatypes).difference(names)
        if rows and unknown:
            raise InvalidArtefact(str(self._id), f"datatypes name no column of the table: {', '.join(sorted(unknown))}")
        return names

    def _column(self, name: str, place: int, rows: list[tuple[int, list[str]]]) -> Array:
        """Return the cells of a column and, as the last element, what a missing key gets."""
        datatype = self._options.datatypes.get(name, "BYTES")
        if datatype not in _DATATYPES:
            raise InvalidSettings(f"options of {self._id.name}", f"datatype {datatype!r}, expected BYTES or FP64")
        if datatype == "BYTES":
            column = np.empty(len(rows) + 1, object)
            column[:] = [*(cells[place].encode() for _, cells in rows), self._options.default.encode()]
            return column
        try:
            return np.array([*(float(cells[place]) for _, cells in rows), np.nan])
        except ValueError as error:
            raise InvalidArtefact(str(self._id), f"column {name}: {error}") from error


class LookupServable:
    """A table in memory: input ``key`` BYTES [rows], one output [rows] per value column."""

    def __init__(
        self,
        id: ServableId,  # noqa: A002  # TF Serving's word
        index: Mapping[bytes, int],
        columns: Mapping[str, Array],
        *,
        has_found: bool,
    ) -> None:
        self._id = id
        self._index = index
        self._columns = columns
        self._has_found = has_found
        outputs = [TensorSpec(name, "BYTES" if c.dtype == object else "FP64", (-1,)) for name, c in columns.items()]
        if has_found:
            outputs.append(TensorSpec("found", "BOOL", (-1,)))
        self.signatures: Mapping[str, Signature] = {
            DEFAULT_SIGNATURE: Signature((TensorSpec("key", "BYTES", (-1,)),), tuple(outputs))
        }

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:  # noqa: ARG002  # there is one
        """See Servable. Raises ModelFailed for a key that is not in the table, unless the options say otherwise."""
        keys = inputs["key"]
        rows = np.fromiter((self._index.get(key, -1) for key in keys), np.intp, len(keys))
        found = rows >= 0
        if not self._has_found and not found.all():
            raise ModelFailed(str(self._id), f"key {keys[int(found.argmin())]!r} is not in the table")
        outputs = {name: column[rows] for name, column in self._columns.items()}
        if self._has_found:
            outputs["found"] = found
        return outputs
