"""The headers of a Parquet file's pages, looked at before pyarrow unpacks them: how large each says that it becomes."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any, Final, NamedTuple

_PAGE_BYTES: Final = 256 << 20  # of one page, unpacked; writers make pages of 1 MiB
_HEADER_BYTES: Final = 1 << 20
_DEPTH: Final = 8
_DICTIONARY: Final = 2  # the page's type
_TRUE, _FALSE, _BYTE, _DOUBLE, _BINARY, _STRUCT = 1, 2, 3, 7, 8, 12  # thrift's compact protocol


class Chunk(NamedTuple):
    """One column of one row group, as the footer has it."""

    name: str
    begin: int
    size_bytes: int
    values: int


class BadPages(Exception):
    """These pages are not what the footer says, or larger than any writer makes them."""


def largest_dictionary(file: Path, chunks: list[Chunk]) -> int:
    """Return the size in bytes of the largest dictionary of these chunks, 0 where there is none.

    No single value that is looked up in a dictionary is larger. Reads the headers alone. Raises BadPages, OSError.
    """
    largest_bytes = 0
    with file.open("rb") as opened:
        for chunk in chunks:
            position, end, values = chunk.begin, chunk.begin + chunk.size_bytes, 0
            while position < end and values < chunk.values:
                header, length = _header(opened, position, chunk.name)
                packed, unpacked = header.get(3, -1), header.get(2, -1)
                position += length + packed
                if packed < 0 or position > end or not 0 <= unpacked <= _PAGE_BYTES:
                    reason = f"column {chunk.name} has a page of {packed} bytes that unpack to {unpacked}"
                    raise BadPages(f"{reason}; its chunk ends at {end}, a page has {_PAGE_BYTES} bytes at most")
                if header.get(1) == _DICTIONARY:
                    largest_bytes = max(largest_bytes, unpacked)
                else:
                    values += _values(header)
            if values != chunk.values:
                raise BadPages(f"column {chunk.name} has {values} values in its pages, {chunk.values} in the footer")
    return largest_bytes


def _values(header: dict[int, Any]) -> int:
    """Return the number of values of a data page, of version 1 or 2; 0 for a page of another kind."""
    data = header.get(5) or header.get(8) or {}
    return int(data.get(1, 0))


def _header(file: IO[bytes], position: int, name: str) -> tuple[dict[int, Any], int]:
    """Return the header at this position, its fields by number, and how many bytes it has."""
    for most_bytes in (1024, _HEADER_BYTES):
        file.seek(position)
        data = file.read(most_bytes)
        try:
            return _struct(data, 0, _DEPTH)
        except IndexError:
            continue
    raise BadPages(f"column {name} has no page header at byte {position}")


def _struct(data: bytes, position: int, depth: int) -> tuple[dict[int, Any], int]:
    if not depth:
        raise BadPages("a page header is nested too deeply")
    fields: dict[int, Any] = {}
    number = 0
    while head := data[position]:
        position += 1
        if head >> 4:
            number += head >> 4
        else:
            number, position = _integer(data, position)
        fields[number], position = _value(data, position, head & 15, depth)
    return fields, position + 1


def _value(data: bytes, position: int, kind: int, depth: int) -> tuple[Any, int]:
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, position
    if kind == _BYTE:
        return data[position], position + 1
    if kind < _DOUBLE:
        return _integer(data, position)
    if kind == _DOUBLE:
        return None, position + 8
    if kind == _BINARY:
        length, position = _varint(data, position)
        return None, position + length
    if kind == _STRUCT:
        return _struct(data, position, depth - 1)
    raise BadPages(f"a page header has a field of type {kind}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[position]
        position += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number, position
        if shift > 63:
            raise BadPages("a page header has an integer of more than 64 bits")


def _integer(data: bytes, position: int) -> tuple[int, int]:
    number, position = _varint(data, position)
    return (number >> 1) ^ -(number & 1), position
