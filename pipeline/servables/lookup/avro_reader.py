"""Avro object container files, read without a library's decoder: rows of plain fields only, each step bounded."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final

import avro.schema

import pipeline
from pipeline.errors import InvalidArtefact
from pipeline.servables.lookup.avro_fields import Malformed, Nullable, field_of, read_long
from pipeline.servables.lookup.layout import Column, Field
from pipeline.servables.lookup.options import LookupOptions
from pipeline.servables.lookup.reader import Piece, refuse_null

MAGIC: Final = b"Obj\x01"
_HEADER_BYTES: Final = 1 << 20
_BLOCK_BYTES: Final = 64 << 20  # of one block, once it is decompressed
_PIECE_ROWS: Final = 8192
_SYNC_BYTES: Final = 16


class AvroReader:
    """See Reader. The codec is ``null`` or ``deflate``; the schema a record of fields as in ``avro_fields``."""

    framework = ("penstock", pipeline.__version__)

    def __init__(self, what: str, file: Path, options: LookupOptions) -> None:
        self._what = what
        self._file = file
        if options.datatypes:
            raise InvalidArtefact(
                what, "datatypes in the options are for CSV files; the schema of an Avro file has them"
            )
        with file.open("rb") as opened:
            head = opened.read(_HEADER_BYTES)
        try:
            meta, self._start = _header(head)
            self._is_deflated = {b"null": False, b"deflate": True}[meta.get("avro.codec", b"null")]
            schema: Any = avro.schema.parse(meta["avro.schema"].decode())
            self._decoders = {field.name: field_of(field.name, field.type) for field in schema.fields}
        except KeyError as error:
            reason = f"{file.name}: {error} is missing in its header, or no codec that is read (null, deflate)"
            raise InvalidArtefact(what, reason) from error
        except Exception as error:  # a schema that is none fails in many ways
            reason = f"{file.name} is not an Avro file of rows: {type(error).__name__}: {str(error)[:300]}"
            raise InvalidArtefact(what, reason) from error
        self._sync = head[self._start - _SYNC_BYTES : self._start]
        self.fields = [Field(name, decoder.datatype) for name, decoder in self._decoders.items()]

    def pieces(self, columns: Sequence[Column]) -> Iterator[Sequence[Piece]]:
        """See Reader."""
        done = 0
        for column in columns:
            decoder = self._decoders[column.name]
            if isinstance(decoder, Nullable) and column.takes_nulls:
                decoder.default = column.default
        try:
            for rows, block in self._blocks():
                position, left = 0, rows
                while left:
                    count = min(left, _PIECE_ROWS)
                    position = self._decode(block, position, count)
                    yield [self._piece(column, done) for column in columns]
                    for field in self._decoders.values():
                        field.clear()
                    left, done = left - count, done + count
                _check_end(block, position)
        except (IndexError, Malformed, OverflowError, ValueError, zlib.error) as error:
            reason = f"{self._file.name}, after row {done}: {type(error).__name__}: {error}"
            raise InvalidArtefact(self._what, reason) from error

    def place(self, row: int) -> str:
        """See Reader."""
        return f"row {row + 1}"

    def _decode(self, block: bytes, position: int, rows: int) -> int:
        reads = [decoder.read for decoder in self._decoders.values()]
        for _ in range(rows):
            for read in reads:
                position = read(block, position)
        return position

    def _piece(self, column: Column, start: int) -> Piece:
        decoder = self._decoders[column.name]
        if isinstance(decoder, Nullable) and decoder.nulls and not column.takes_nulls:
            raise refuse_null(self._what, self.place(start + decoder.nulls[0]), column)
        return decoder.piece()

    def _blocks(self) -> Iterator[tuple[int, bytes]]:
        """Yield the number of rows of each block, and its bytes, decompressed."""
        with self._file.open("rb") as file:
            size_bytes = os.fstat(file.fileno()).st_size
            file.seek(self._start)
            while file.tell() < size_bytes:
                rows, length = _read_long(file), _read_long(file)
                if not 0 <= length <= size_bytes - file.tell() - _SYNC_BYTES or rows < 0:
                    raise Malformed(f"a block of {rows} rows and {length} bytes, the file has {size_bytes}")
                data = file.read(length)
                if file.read(_SYNC_BYTES) != self._sync:
                    raise Malformed("a block does not end in the file's marker")
                block = _inflate(data) if self._is_deflated else data
                if rows > len(block):
                    raise Malformed(f"a block of {rows} rows has {len(block)} bytes")
                yield rows, block


def _check_end(block: bytes, position: int) -> None:
    if position != len(block):
        raise Malformed(f"a block has {len(block)} bytes, its rows take {position}")


def _header(head: bytes) -> tuple[dict[str, bytes], int]:
    """Return the header's metadata, and where the first block begins."""
    if not head.startswith(MAGIC):
        raise Malformed("it does not begin as one")
    meta: dict[str, bytes] = {}
    count, position = read_long(head, len(MAGIC))
    while count:
        if count < 0:
            _, position = read_long(head, position)
        for _ in range(abs(count)):
            texts = []
            for _ in range(2):
                length, position = read_long(head, position)
                if not 0 <= length <= len(head) - position:
                    raise Malformed(f"its header is longer than {len(head)} bytes")
                texts.append(head[position : position + length])
                position += length
            meta[texts[0].decode()] = texts[1]
        count, position = read_long(head, position)
    if position + _SYNC_BYTES > len(head):
        raise Malformed(f"its header is longer than {len(head)} bytes")
    return meta, position + _SYNC_BYTES


def _read_long(file: IO[bytes]) -> int:
    start = file.tell()
    number, length = read_long(file.read(10), 0)
    file.seek(start + length)
    return number


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    block = inflater.decompress(data, _BLOCK_BYTES)
    if inflater.unconsumed_tail or not inflater.eof:
        raise Malformed(f"a block is cut short, or decompresses to more than {_BLOCK_BYTES} bytes")
    return block
