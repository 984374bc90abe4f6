"""Protocol buffers read from a file without their schema: the numbers and the places of the fields of one message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Final, NamedTuple

_VARINT: Final = 0
_FIXED_64: Final = 1
_LENGTH: Final = 2
_FIXED_32: Final = 5


class MalformedMessage(ValueError):
    """The bytes are no protocol buffer."""


class Field(NamedTuple):
    """One field: ``value`` where it is a number, else the bytes from ``start`` to ``end`` of the file."""

    number: int
    value: int | None
    start: int
    end: int

    def read(self, file: IO[bytes], most_bytes: int = 1 << 16) -> bytes:
        """Return the bytes of a field; raises MalformedMessage for a number, or more than ``most_bytes``."""
        if self.value is not None or self.end - self.start > most_bytes:
            raise MalformedMessage(f"field {self.number} at byte {self.start} is no text of at most {most_bytes} bytes")
        file.seek(self.start)
        return file.read(self.end - self.start)


def fields(file: IO[bytes], start: int, end: int) -> Iterator[Field]:
    """Yield the fields of the message from ``start`` to ``end``, in order; what they hold is skipped, not read.

    Raises MalformedMessage. The position of ``file`` is moved, and may be moved by the caller between two fields.
    """
    position = start
    while position < end:
        key, position = _varint(file, position, end)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise MalformedMessage(f"a field of number 0 at byte {position}")
        if wire_type == _VARINT:
            value, position = _varint(file, position, end)
            yield Field(number, value, position, position)
            continue
        if wire_type == _LENGTH:
            size, position = _varint(file, position, end)
        elif wire_type in (_FIXED_32, _FIXED_64):
            size = 4 if wire_type == _FIXED_32 else 8
        else:
            raise MalformedMessage(f"wire type {wire_type} at byte {position}")
        if position + size > end:
            raise MalformedMessage(f"field {number} at byte {position} ends after its message")
        yield Field(number, None, position, position + size)
        position += size


def packed(data: bytes) -> list[int]:
    """Return the numbers of a packed repeated field; raises MalformedMessage."""
    numbers, value, shift = [], 0, 0
    for byte in data:
        value |= (byte & 127) << shift
        shift += 7
        if shift > 70:  # ten bytes of seven bits
            raise MalformedMessage("a number of more than ten bytes")
        if byte < 128:  # the high bit says that more follow
            numbers.append(value)
            value = shift = 0
    if shift:
        raise MalformedMessage("the last number is cut off")
    return numbers


def _varint(file: IO[bytes], position: int, end: int) -> tuple[int, int]:
    file.seek(position)
    data = file.read(min(10, end - position))
    value = 0
    for place, byte in enumerate(data):
        value |= (byte & 127) << (7 * place)
        if byte < 128:  # the high bit says that more follow
            return value, position + place + 1
    raise MalformedMessage(f"a number at byte {position} does not end")
