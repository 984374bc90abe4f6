"""The few parts of a FlatBuffer that a record batch needs, read from bytes that nobody has checked."""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

_U16: Final = struct.Struct("<H")
_U32: Final = struct.Struct("<I")
_I32: Final = struct.Struct("<i")
_I64: Final = struct.Struct("<q")
_PAIR: Final = struct.Struct("<qq")


class Table(NamedTuple):
    """A table: its bytes and where in them it stands. Everything raises ValueError for what lies outside."""

    buffer: bytes
    at: int

    def has(self, field: int) -> bool:
        """Whether a field is set."""
        return bool(self._place(field))

    def byte(self, field: int) -> int:
        """Return a field of one byte, 0 where it is not set."""
        place = self._place(field)
        if place >= len(self.buffer):
            raise ValueError("a field lies outside its message")
        return self.buffer[place] if place else 0

    def long(self, field: int) -> int:
        """Return a field of 64 bits, 0 where it is not set."""
        place = self._place(field)
        return _read(_I64, self.buffer, place) if place else 0

    def table(self, field: int) -> Table:
        """Return a table that is a field."""
        place = self._place(field)
        if not place:
            raise ValueError("a message has no header")
        return Table(self.buffer, place + _read(_U32, self.buffer, place))

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """Return a vector of structs of two 64-bit numbers, empty where it is not set."""
        place = self._place(field)
        if not place:
            return []
        place += _read(_U32, self.buffer, place)
        count = _read(_U32, self.buffer, place)
        start, end = place + 4, place + 4 + count * _PAIR.size
        if end > len(self.buffer):
            raise ValueError(f"a list of {count} items lies outside its message")
        return list(_PAIR.iter_unpack(memoryview(self.buffer)[start:end]))

    def _place(self, field: int) -> int:
        """Return where a field stands, 0 where it is not set."""
        vtable = self.at - _read(_I32, self.buffer, self.at)
        slot = 4 + 2 * field
        if slot + 2 > _read(_U16, self.buffer, vtable):
            return 0
        offset = _read(_U16, self.buffer, vtable + slot)
        return self.at + offset if offset else 0


def root(buffer: bytes) -> Table:
    """Return the table that a message is."""
    return Table(buffer, _read(_U32, buffer, 0))


def _read(form: struct.Struct, buffer: bytes, at: int) -> int:
    if not 0 <= at <= len(buffer) - form.size:
        raise ValueError("a field lies outside its message")
    value: int = form.unpack_from(buffer, at)[0]
    return value
