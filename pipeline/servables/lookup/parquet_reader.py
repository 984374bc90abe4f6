"""Parquet files, read by pyarrow: a piece at a time, after a look at what the footer promises."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.errors import InvalidArtefact
from pipeline.servables.framework import imported
from pipeline.servables.lookup.layout import Column, Field
from pipeline.servables.lookup.options import LookupOptions
from pipeline.servables.lookup.parquet_pages import Chunk, largest_dictionary
from pipeline.servables.lookup.reader import Piece, Texts, refuse_null
from pipeline.tensors import DTYPES, Array

MAGIC: Final = b"PAR1"
_FOOTER_BYTES: Final = 12  # at least: two marks and a length
_PIECE_ROWS: Final = 65536
_PIECE_BYTES: Final = 16 << 20
_MOST_BYTES: Final = 512 << 20  # of one column of a piece, were all its values the longest of its dictionary
_READ_BYTES: Final = 1 << 20
_THRIFT_BYTES: Final = 16 << 20  # of the footer; pyarrow's own limit is 100 MB
_TEXTS: Final = ("string", "large_string", "binary", "large_binary", "string_view", "binary_view")
_NUMBERS: Final = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "int8": "INT8",
    "int16": "INT16", "int32": "INT32", "int64": "INT64", "halffloat": "FP16", "float": "FP32", "double": "FP64",
}  # fmt: skip


class ParquetReader:
    """See Reader. Checksums of pages are checked where the file has them; the file is read, not mapped."""

    def __init__(self, what: str, file: Path, options: LookupOptions) -> None:
        self._what = what
        self._file = file
        if options.datatypes:
            reason = "datatypes in the options are for CSV files; the schema of a Parquet file has them"
            raise InvalidArtefact(what, reason)
        self._arrow = imported(what, "pyarrow", "pyarrow", "tables")
        self._parquet = imported(what, "pyarrow.parquet", "pyarrow", "tables")
        self.framework = ("pyarrow", str(self._arrow.__version__))
        self._check_ends()
        with self._open() as opened:
            self._check_footer(opened.metadata, options.max_table_bytes)
            self.fields = [Field(field.name, _datatype(field.type)) for field in opened.schema_arrow]
        self._lengths: dict[str, int] = {}

    def pieces(self, columns: Sequence[Column]) -> Iterator[Sequence[Piece]]:
        """See Reader. What pyarrow took is given back at the end."""
        names = [column.name for column in columns]
        start = 0
        with self._open() as opened:
            rows = self._rows_at_once(opened.metadata, names)
            for batch in opened.iter_batches(rows, columns=names, use_threads=False):
                yield [self._piece(column, batch.column(column.name), start) for column in columns]
                start += batch.num_rows
        self._arrow.default_memory_pool().release_unused()

    def place(self, row: int) -> str:
        """See Reader."""
        return f"row {row + 1}"

    def _check_ends(self) -> None:
        size_bytes = self._file.stat().st_size
        with self._file.open("rb") as file:
            ends = file.read(len(MAGIC))
            file.seek(max(size_bytes - 8, 0))
            length, mark = int.from_bytes(file.read(4), "little"), file.read(4)
        if ends != MAGIC or mark != MAGIC or not 0 < length <= min(size_bytes - _FOOTER_BYTES, _THRIFT_BYTES):
            reason = f"{self._file.name} is not a Parquet file, or is cut short ({size_bytes} bytes, footer {length})"
            raise InvalidArtefact(self._what, reason)

    @contextmanager
    def _open(self) -> Iterator[Any]:
        """Yield pyarrow's ParquetFile; what it raises is InvalidArtefact, unless the system can not read the file."""
        try:
            with self._parquet.ParquetFile(
                self._file,
                pre_buffer=False,
                buffer_size=_READ_BYTES,  # else a chunk is read as a whole
                page_checksum_verification=True,
                arrow_extensions_enabled=False,
                thrift_string_size_limit=_THRIFT_BYTES,
                thrift_container_size_limit=1_000_000,
            ) as opened:
                yield opened
        except InvalidArtefact:
            raise
        except Exception as error:  # pyarrow raises ValueErrors, OSErrors without a number, TypeErrors and more
            if isinstance(error, OSError) and error.errno is not None:
                raise
            reason = f"pyarrow can not read {self._file.name}: {type(error).__name__}: {str(error)[:300]}"
            raise InvalidArtefact(self._what, reason) from error

    def _check_footer(self, footer: Any, max_table_bytes: int) -> None:
        """Raise InvalidArtefact for a footer that promises what the file can not hold, or what is not allowed."""
        file_bytes = self._file.stat().st_size
        unpacked_bytes = rows = 0
        for number in range(footer.num_row_groups):
            group = footer.row_group(number)
            rows += group.num_rows
            for place in range(group.num_columns):
                chunk = group.column(place)
                unpacked_bytes += chunk.total_uncompressed_size
                begin, size = chunk.data_page_offset, chunk.total_compressed_size
                if min(begin, size, chunk.total_uncompressed_size, group.num_rows) < 0 or begin + size > 2 * file_bytes:
                    reason = f"column {chunk.path_in_schema} of row group {number} lies outside the file"
                    raise InvalidArtefact(self._what, reason)
        if rows != footer.num_rows:
            raise InvalidArtefact(self._what, f"the row groups have {rows} rows, the file says {footer.num_rows}")
        if unpacked_bytes > max_table_bytes:
            reason = f"it unpacks to {unpacked_bytes} bytes, the limit is {max_table_bytes}; raise max_table_bytes"
            raise InvalidArtefact(self._what, reason)

    def _rows_at_once(self, footer: Any, names: Sequence[str]) -> int:
        """Return how many rows are read together: so that a piece stays small, whatever its dictionaries hold."""
        groups = [footer.row_group(number) for number in range(footer.num_row_groups)]
        chunks: list[Chunk] = []
        piece_bytes = 0
        for group in groups:
            for chunk in map(group.column, range(group.num_columns)):
                if chunk.path_in_schema.split(".")[0] in names:
                    begin = min(chunk.data_page_offset, chunk.dictionary_page_offset or chunk.data_page_offset)
                    chunks.append(Chunk(chunk.path_in_schema, begin, chunk.total_compressed_size, chunk.num_values))
                    piece_bytes += max(chunk.total_uncompressed_size, 8 * chunk.num_values)
        dictionary_bytes = largest_dictionary(self._file, chunks)
        by_rows: int = _PIECE_BYTES * footer.num_rows // max(piece_bytes, 1)
        return max(1, min(_PIECE_ROWS, by_rows, _MOST_BYTES // max(dictionary_bytes, 1)))

    def _piece(self, column: Column, array: Any, start: int) -> Piece:
        types = self._arrow.types
        if types.is_dictionary(array.type):
            array = array.dictionary_decode()
        nulls = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
        if nulls is not None and not column.takes_nulls:
            raise refuse_null(self._what, self.place(start + int(nulls.argmax())), column)
        if column.datatype == "BYTES":
            return self._texts(column, array)
        if not _is_list(array.type):
            return _filled(self._numbers(column, array), nulls, column)
        return self._vectors(column, array, nulls)

    def _texts(self, column: Column, array: Any) -> Texts:
        array = array.cast(self._arrow.large_binary())
        if array.null_count:
            array = array.fill_null(self._arrow.scalar(column.default, self._arrow.large_binary()))
        _, offsets, data = array.buffers()
        ends = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
        return Texts(ends - ends[0], bytes(memoryview(data)[ends[0] : ends[-1]]) if data is not None else b"")

    def _numbers(self, column: Column, array: Any) -> Array:
        """Return what stands in the array, also below nulls."""
        if self._arrow.types.is_boolean(array.type):
            array = array.cast(self._arrow.uint8())
        dtype = DTYPES[column.datatype]
        if not len(array):
            return np.empty(0, dtype)
        return np.frombuffer(array.buffers()[1], dtype, len(array), array.offset * dtype.itemsize)

    def _vectors(self, column: Column, array: Any, nulls: Array | None) -> Array:
        """Return lists of one length as [rows, length]."""
        lengths = np.unique(array.drop_null().value_lengths().to_numpy(zero_copy_only=False))
        length = int(lengths[0]) if len(lengths) else self._lengths.get(column.name, -1)
        if len(lengths) > 1 or self._lengths.setdefault(column.name, length) != length or length < 0:
            seen = ", ".join(map(str, sorted({*lengths.tolist(), *self._lengths.values()})))
            reason = f"column {column.name} has vectors of {seen} elements; expected one length in all rows"
            raise InvalidArtefact(self._what, reason)
        elements = array.flatten()  # leaves out those of lists that are null
        if elements.null_count:
            raise InvalidArtefact(self._what, f"column {column.name} has vectors with null elements")
        vectors = self._numbers(column, elements).reshape(-1, length)
        if nulls is None:
            return vectors
        filled = np.full((len(nulls), length), column.default, vectors.dtype)
        filled[~nulls] = vectors
        return filled


def _datatype(kind: Any) -> str:
    """Return the datatype of an Arrow type, or the type's own name where there is none."""
    if str(kind).startswith("dictionary<"):
        kind = kind.value_type
    if _is_list(kind):
        return _NUMBERS.get(str(kind.value_type), str(kind))
    if str(kind) in _TEXTS or str(kind).startswith("fixed_size_binary"):
        return "BYTES"
    return _NUMBERS.get(str(kind), str(kind))


def _is_list(kind: Any) -> bool:
    return str(kind).startswith(("list<", "large_list<", "fixed_size_list<"))


def _filled(array: Array, nulls: Array | None, column: Column) -> Array:
    if nulls is None:
        return array
    filled = array.copy()
    filled[nulls] = column.default
    return filled
