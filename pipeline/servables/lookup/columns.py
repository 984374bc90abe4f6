"""The values of a table, one column each; the last row is what a missing key gets."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from pipeline.description import TensorSpec
from pipeline.errors import InvalidArtefact
from pipeline.servables.lookup.layout import Column
from pipeline.servables.lookup.reader import Piece, Texts
from pipeline.servables.lookup.workspace import Workspace
from pipeline.tensors import DTYPES, Array


class Values(Protocol):
    """One column of a table; any thread may ask."""

    spec: TensorSpec

    def take(self, rows: Array) -> Array:
        """Return the values of these rows (intp [rows]) as a new array: [rows], or [rows, length] of vectors."""
        ...


class Numbers:
    """Numbers [rows], or vectors [rows, length]."""

    def __init__(self, spec: TensorSpec, array: Array) -> None:
        self.spec = spec
        self._array = array

    def take(self, rows: Array) -> Array:
        """See Values."""
        return self._array.take(rows, axis=0)


class PackedTexts:
    """Texts as they stand in the file, for large tables: 8 bytes a row and their own bytes."""

    def __init__(self, spec: TensorSpec, texts: Texts) -> None:
        self.spec = spec
        self._texts = texts

    def take(self, rows: Array) -> Array:
        """See Values."""
        array = np.empty(len(rows), object)
        array[:] = texts_at(self._texts, rows)
        return array


class TextObjects:
    """Texts as Python objects, for small tables: nothing is made when they are asked for."""

    def __init__(self, spec: TensorSpec, texts: Texts) -> None:
        self.spec = spec
        rows = len(texts.offsets) - 1
        self._array = np.empty(rows, object)
        self._array[:] = texts_at(texts, np.arange(rows))

    def take(self, rows: Array) -> Array:
        """See Values."""
        return self._array.take(rows)


def texts_at(texts: Texts, rows: Array) -> list[bytes]:
    """Return the texts of these rows."""
    data, offsets = texts.data, texts.offsets
    return [data[start:end] for start, end in zip(offsets[rows].tolist(), offsets[rows + 1].tolist(), strict=True)]


class NumbersWriter:
    """Collects a column of numbers; the first row says whether they are vectors, and how long."""

    def __init__(self, what: str, column: Column, workspace: Workspace) -> None:
        self._what = what
        self._column = column
        self._buffer = workspace.buffer()
        self._shape: tuple[int, ...] | None = None

    def write(self, piece: Piece) -> None:
        """Add some rows, [rows] or [rows, length]. Raises InvalidArtefact where the length is another than before."""
        assert not isinstance(piece, Texts)  # readers keep to the datatypes of their fields
        shape = piece.shape[1:]
        if self._shape not in (None, shape):
            reason = f"column {self._column.name} has vectors of {self._shape} and of {shape}; expected one length"
            raise InvalidArtefact(self._what, reason)
        self._shape = shape
        self._buffer.append(piece.tobytes())

    def array(self) -> Array:
        """Return what has been written, read-only. Called once, at the end."""
        flat = np.frombuffer(self._buffer.finish(), DTYPES[self._column.datatype])
        return flat.reshape(-1, *(self._shape or ()))

    def finish(self, *, small: bool) -> Values:  # noqa: ARG002  # numbers are the same in a small table
        """Return the column, the default as its last row. Called once, at the end."""
        self.write(np.full((1, *(self._shape or ())), self._column.default, DTYPES[self._column.datatype]))
        array = self.array()
        axes = ("batch", *([f"{self._column.name}_length"] * (array.ndim - 1)))
        return Numbers(TensorSpec(self._column.name, self._column.datatype, (-1, *array.shape[1:]), axes), array)


class TextsWriter:
    """Collects a column of texts."""

    def __init__(self, column: Column, workspace: Workspace) -> None:
        self._column = column
        self._data, self._ends = workspace.buffer(), workspace.buffer()
        self._ends.append(bytes(8))
        self._end = 0

    def write(self, piece: Piece) -> None:
        """Add some rows."""
        assert isinstance(piece, Texts)  # readers keep to the datatypes of their fields
        self._data.append(piece.data)
        self._ends.append((piece.offsets[1:] + self._end).tobytes())
        self._end += len(piece.data)

    def texts(self) -> Texts:
        """Return what has been written. Called once, at the end."""
        data: Any = self._data.finish()  # a map, too, has bytes as its slices
        return Texts(np.frombuffer(self._ends.finish(), np.int64), data)

    def finish(self, *, small: bool) -> Values:
        """Return the column, the default as its last row. Called once, at the end."""
        self.write(pack([self._column.default]))
        spec = TensorSpec(self._column.name, "BYTES", (-1,), ("batch",))
        return (TextObjects if small else PackedTexts)(spec, self.texts())


def pack(texts: list[bytes]) -> Texts:
    """Return texts one after the other."""
    offsets = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=offsets[1:])
    return Texts(offsets, b"".join(texts))


def writer(what: str, column: Column, workspace: Workspace) -> NumbersWriter | TextsWriter:
    """Return what collects a column of this datatype."""
    return TextsWriter(column, workspace) if column.datatype == "BYTES" else NumbersWriter(what, column, workspace)
