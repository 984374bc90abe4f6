"""What reads the files of one format, piece by piece: the contract between formats and the table made of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, Protocol

from pipeline.errors import InvalidArtefact
from pipeline.servables.lookup.layout import Column, Field
from pipeline.tensors import Array


class Texts(NamedTuple):
    """Texts one after the other: text i is ``data[offsets[i]:offsets[i + 1]]``. ``offsets``: int64 [rows + 1]."""

    offsets: Array
    data: bytes


# Of one column, some rows: numbers [rows] in its datatype, vectors [rows, length], or texts.
Piece = Array | Texts


class Reader(Protocol):
    """One open file. Used by one thread, once; what is wrong with the file is InvalidArtefact, whatever it is."""

    @property
    def framework(self) -> tuple[str, str]:
        """What reads the file: the name of its package, and its version."""
        ...

    @property
    def fields(self) -> Sequence[Field]:
        """The columns of the file, in its order."""
        ...

    def pieces(self, columns: Sequence[Column]) -> Iterator[Sequence[Piece]]:
        """Yield the rows in order, a bounded number at a time: one piece for each of ``columns``, equally many rows.

        A null is its column's default, or InvalidArtefact. The GIL is held for some milliseconds at a time.
        """
        ...

    def place(self, row: int) -> str:
        """Return, for people, where the row with this number from 0 stands in the file. May read it again."""
        ...


def refuse_null(what: str, place: str, column: Column) -> InvalidArtefact:
    """Return the error for a null that nothing replaces."""
    hint = "set nulls: default in the options, or leave such rows out" if column.default is not None else "it is a key"
    return InvalidArtefact(what, f"{place}: column {column.name} is null; {hint}")
