"""Protocol buffers read from a file without their schema: the numbers and the places of the fields of one message."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, Final, NamedTuple

_VARINT: Final = 0
_FIXED_64: Final = 1
_LENGTH: Final = 2
_FIXED_32: Final = 5
_MOST_VARINT_BYTES: Final = 10
_MOST_HEAD_BYTES: Final = 2 * _MOST_VARINT_BYTES  # what it is, and how long or which number


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
        file.seek(position)
        head = file.read(min(_MOST_HEAD_BYTES, end - position))
        key, after = varint(head, 0, position)
        number, wire_type = key >> 3, key & 7
        if number == 0:
            raise MalformedMessage(f"a field of number 0 at byte {position}")
        if wire_type == _VARINT:
            value, after = varint(head, after, position)
            position += after
            yield Field(number, value, position, position)
            continue
        if wire_type == _LENGTH:
            size, after = varint(head, after, position)
        elif wire_type in (_FIXED_32, _FIXED_64):
            size = 4 if wire_type == _FIXED_32 else 8
        else:
            raise MalformedMessage(f"wire type {wire_type} at byte {position}")
        position += after
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


def varint(data: bytes, place: int, start: int = 0) -> tuple[int, int]:
    """Return the number at a place of ``data``, and the place after it; ``start`` is where in its file the data begin.

    Raises MalformedMessage.
    """
    if place < len(data) and data[place] < 128:  # most are short
        return data[place], place + 1
    value = 0
    for shift, byte in enumerate(data[place : place + _MOST_VARINT_BYTES]):
        value |= (byte & 127) << (7 * shift)
        if byte < 128:  # the high bit says that more follow
            return value, place + shift + 1
    raise MalformedMessage(f"a number at byte {start + place} does not end")
