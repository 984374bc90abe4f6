"""CSV files, read by Python's own module: one row per line, or several lines where a cell in quotes has them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import numpy as np

import pipeline
from pipeline.errors import InvalidArtefact
from pipeline.servables.lookup.columns import pack
from pipeline.servables.lookup.layout import Column, Field
from pipeline.servables.lookup.options import KEY, LookupOptions
from pipeline.servables.lookup.reader import Piece, refuse_null
from pipeline.tensors import DTYPES

_PIECE_ROWS: Final = 8192
_MOST_CHARACTERS: Final = 1 << 24  # of one line
_BOOLEANS: Final = {"true": True, "false": False, "1": True, "0": False}


class CsvReader:
    """See Reader. UTF-8, with or without a byte order mark; each row has as many cells as the first.

    An empty cell is an empty text in a BYTES column, and a null in any other.
    """

    framework = ("penstock", pipeline.__version__)

    def __init__(self, what: str, file: Path, options: LookupOptions) -> None:
        self._what = what
        self._file = file
        self._options = options
        with self._rows() as rows:
            first = next(rows, [])
        if not first:
            raise InvalidArtefact(what, "the table has no rows")
        names = first if options.header else _names(options, len(first))
        if len(names) != len(first):
            raise InvalidArtefact(what, f"{self.place(0)} has {len(first)} columns, expected {len(names)}")
        self.fields = [Field(name, options.datatypes.get(name, "BYTES")) for name in names]
        self._width = len(first)

    def pieces(self, columns: Sequence[Column]) -> Iterator[Sequence[Piece]]:
        """See Reader."""
        names = [field.name for field in self.fields]
        places = [names.index(column.name) for column in columns]
        start = 0
        with self._rows() as rows:
            if self._options.header:
                next(rows, None)
            while piece := list(islice(rows, _PIECE_ROWS)):
                if set(map(len, piece)) != {self._width}:
                    row, cells = next((row, cells) for row, cells in enumerate(piece) if len(cells) != self._width)
                    reason = f"{self.place(start + row)} has {len(cells)} columns, expected {self._width}"
                    raise InvalidArtefact(self._what, reason)
                cells_by_column = list(zip(*piece, strict=True))
                yield [
                    self._piece(column, cells_by_column[at], start) for column, at in zip(columns, places, strict=True)
                ]
                start += len(piece)

    def place(self, row: int) -> str:
        """See Reader."""
        with self._file.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(self._lines(file), delimiter=self._options.delimiter, strict=True)
            found = (lines.line_num for cells in lines if cells)
            return f"line {next(islice(found, row + self._options.header, None))}"

    @contextmanager
    def _rows(self) -> Iterator[Iterator[list[str]]]:
        """Yield the rows that are not empty; what is wrong with the file is InvalidArtefact."""
        try:
            with self._file.open(encoding="utf-8-sig", newline="") as file:
                yield filter(None, csv.reader(self._lines(file), delimiter=self._options.delimiter, strict=True))
        except (csv.Error, UnicodeDecodeError) as error:
            raise InvalidArtefact(self._what, f"not a CSV file in UTF-8: {error}") from error

    def _lines(self, file: IO[str]) -> Iterator[str]:
        while line := file.readline(_MOST_CHARACTERS):
            if len(line) == _MOST_CHARACTERS:
                raise InvalidArtefact(self._what, f"a line has {_MOST_CHARACTERS} characters or more")
            yield line

    def _piece(self, column: Column, cells: Sequence[str], start: int) -> Piece:
        if column.datatype == "BYTES":
            return pack([cell.encode() for cell in cells])
        parse = _parser(column.datatype)
        dtype = DTYPES[column.datatype]
        try:
            if "" not in cells:
                return _numbers([*map(parse, cells)], dtype)
            if column.takes_nulls:
                return _numbers([parse(cell) if cell else column.default for cell in cells], dtype)
        except (ArithmeticError, KeyError, ValueError):
            for row, cell in enumerate(cells):
                self._check(column, cell, start + row)
            raise
        raise refuse_null(self._what, self.place(start + cells.index("")), column)

    def _check(self, column: Column, cell: str, row: int) -> None:
        try:
            _numbers([_parser(column.datatype)(cell)] if cell else [], DTYPES[column.datatype])
        except (ArithmeticError, KeyError, ValueError) as error:
            reason = f"column {column.name}, {self.place(row)}: {cell[:100]!r} is no {column.datatype}"
            raise InvalidArtefact(self._what, reason) from error


def _names(options: LookupOptions, width: int) -> list[str]:
    """Return the names of columns that have no header: the keys come first."""
    keys = options.keys or (KEY,)
    values = options.columns
    if not values:
        count = max(width - len(keys), 0)
        values = ("value",) if count == 1 else tuple(f"value_{number}" for number in range(1, count + 1))
    return [*keys, *values]


def _parser(datatype: str) -> Callable[[str], Any]:
    if datatype == "BOOL":
        return lambda cell: _BOOLEANS[cell.lower()]
    return float if datatype.startswith("FP") else int


def _numbers(values: list[Any], dtype: np.dtype[Any]) -> Piece:
    with np.errstate(over="raise"):
        return np.array(values).astype(dtype) if dtype.kind == "f" else np.array(values, dtype)
