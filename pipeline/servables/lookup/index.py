"""From keys to rows: three indexes, for integers, for small tables and for large ones; and what makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np

from pipeline.errors import InvalidArtefact
from pipeline.servables.lookup.columns import NumbersWriter, TextsWriter, pack, texts_at
from pipeline.servables.lookup.layout import Column
from pipeline.servables.lookup.reader import Piece, Texts
from pipeline.servables.lookup.workspace import Workspace, slices
from pipeline.tensors import Array

_ORDER: Final = np.dtype("u4")
MAX_ROWS: Final = 1 << 32


class Index(Protocol):
    """The keys of a table; any thread may ask."""

    def find(self, keys: Sequence[Array]) -> Array:
        """Return the row of each key, intp [rows], -1 where there is none; ``keys`` has one array [rows] per input."""
        ...


class DictIndex:
    """For small tables: the fastest, and some 150 bytes of Python objects a row."""

    def __init__(self, texts: Texts) -> None:
        rows = len(texts.offsets) - 1
        self._rows = dict(zip(texts_at(texts, np.arange(rows)), range(rows), strict=True))

    def find(self, keys: Sequence[Array]) -> Array:
        """See Index."""
        get = self._rows.get
        return np.array([get(key, -1) for key in joined(keys)], np.intp)


class SortedIndex:
    """For integers of any number: the keys in order, and the row of each. 12 bytes a row for INT64."""

    def __init__(self, keys: Array, order: Array) -> None:
        self._keys = keys
        self._order = order

    def find(self, keys: Sequence[Array]) -> Array:
        """See Index."""
        [wanted] = keys
        places = np.searchsorted(self._keys, wanted)
        np.minimum(places, len(self._keys) - 1, out=places)
        return np.where(self._keys[places] == wanted, self._order[places].astype(np.intp), -1)


class HashIndex:
    """For texts of any number: their hashes in order, the row of each, and the texts. 20 bytes a row and the text.

    The hash is Python's own: 64 bits, with a secret of this process, so that nobody can make keys that collide; where
    some do, the texts decide.
    """

    def __init__(self, hashes: Array, order: Array, texts: Texts) -> None:
        self._hashes = hashes
        self._order = order
        self._texts = texts

    def find(self, keys: Sequence[Array]) -> Array:
        """See Index."""
        wanted = joined(keys)
        hashes = _hashes(wanted)
        places = np.searchsorted(self._hashes, hashes)
        np.minimum(places, len(self._hashes) - 1, out=places)
        rows = np.where(self._hashes[places] == hashes, self._order[places].astype(np.intp), -1)
        for number, text in enumerate(texts_at(self._texts, np.maximum(rows, 0))):
            if rows[number] >= 0 and text != wanted[number]:
                rows[number] = self._search(wanted[number], int(places[number]), hashes[number])
        return rows

    def _search(self, key: bytes, place: int, key_hash: int) -> int:
        """Return the row of a key whose hash another key has as well, from the first place of that hash."""
        while place < len(self._hashes) and self._hashes[place] == key_hash:
            row = int(self._order[place])
            if texts_at(self._texts, np.array([row])) == [key]:
                return row
            place += 1
        return -1


class IntegerIndexWriter:
    """Collects integer keys."""

    def __init__(self, what: str, column: Column, workspace: Workspace, place: Callable[[int], str]) -> None:
        self._what, self._workspace, self._place = what, workspace, place
        self._keys = NumbersWriter(what, column, workspace)

    def write(self, pieces: Sequence[Piece]) -> None:
        """Add the keys of some rows."""
        self._keys.write(pieces[0])

    def finish(self, *, small: bool) -> Index:  # noqa: ARG002  # as fast in a small table
        """Return the index; raise InvalidArtefact for a key that stands twice. Called once, at the end."""
        array = self._keys.array()
        if array.ndim != 1:
            raise InvalidArtefact(self._what, "the key column has vectors; expected BYTES or integers")
        order = np.argsort(array, kind="stable")
        keys = self._workspace.keep(array.dtype, (array[order[rows]] for rows in slices(len(order))))
        repeats = np.flatnonzero(keys[1:] == keys[:-1])
        if len(repeats):
            row = int(order[repeats + 1].min())
            raise InvalidArtefact(self._what, f"{self._place(row)} repeats the key {array[row]}")
        return SortedIndex(keys, self._workspace.keep(_ORDER, (order[rows] for rows in slices(len(order)))))


class TextIndexWriter:
    """Collects keys of texts, or of several columns."""

    def __init__(self, what: str, columns: Sequence[Column], workspace: Workspace, place: Callable[[int], str]) -> None:
        self._what, self._workspace, self._place = what, workspace, place
        self._is_single = len(columns) == 1
        self._texts = TextsWriter(columns[0], workspace)
        self._hashes = workspace.buffer()

    def write(self, pieces: Sequence[Piece]) -> None:
        """Add the keys of some rows."""
        keys = joined([_as_array(piece) for piece in pieces])
        self._texts.write(pieces[0] if self._is_single else pack(keys))
        self._hashes.append(_hashes(keys).tobytes())

    def finish(self, *, small: bool) -> Index:
        """Return the index; raise InvalidArtefact for a key that stands twice. Called once, at the end."""
        texts, unordered = self._texts.texts(), np.frombuffer(self._hashes.finish(), np.int64)
        order = np.argsort(unordered, kind="stable")
        keep = self._workspace.keep
        hashes = keep(unordered.dtype, (unordered[order[rows]] for rows in slices(len(order))))
        self._refuse_repeats(texts, hashes, order)
        if small:
            return DictIndex(texts)
        return HashIndex(hashes, keep(_ORDER, (order[rows] for rows in slices(len(order)))), texts)

    def _refuse_repeats(self, texts: Texts, hashes: Array, order: Array) -> None:
        """Only equal hashes are looked at, the earliest row first; of one hash the rows are in order."""
        places = np.flatnonzero(hashes[1:] == hashes[:-1]) + 1
        for place in places[np.argsort(order[places])].tolist():
            first = int(np.searchsorted(hashes, hashes[place]))
            *others, key = texts_at(texts, order[first : place + 1])
            if key in others:
                shown = repr(key.decode(errors="replace")) if self._is_single else "of its columns"
                raise InvalidArtefact(self._what, f"{self._place(int(order[place]))} repeats the key {shown}")


def joined(columns: Sequence[Array]) -> list[bytes]:
    """Return one text per row, equal where the rows of all columns are: a single column of texts is itself.

    Of several, texts have their length before them and integers their size, so that no two rows run together.
    """
    if len(columns) == 1 and columns[0].dtype == object:
        single: list[bytes] = columns[0].tolist()
        return single
    parts: list[list[bytes]] = []
    for column in columns:
        if column.dtype == object:
            parts.append([len(text).to_bytes(8, "little") + text for text in column.tolist()])
        else:
            data, size = column.tobytes(), column.dtype.itemsize
            parts.append([data[start : start + size] for start in range(0, len(data), size)])
    return [b"".join(row) for row in zip(*parts, strict=True)]


def _as_array(piece: Piece) -> Array:
    if not isinstance(piece, Texts):
        return piece
    array = np.empty(len(piece.offsets) - 1, object)
    array[:] = texts_at(piece, np.arange(len(array)))
    return array


def _hashes(keys: Sequence[bytes]) -> Array:
    return np.fromiter(map(hash, keys), np.int64, len(keys))
