"""The fields of a row in Avro's binary form: each kind of field reads its own, and makes a piece of a column."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import numpy as np

from pipeline.servables.lookup.columns import pack
from pipeline.servables.lookup.reader import Piece
from pipeline.tensors import DTYPES, Array

_INTEGERS: Final = {"int": "INT32", "long": "INT64"}
_RAW: Final = {"boolean": "BOOL", "float": "FP32", "double": "FP64"}


class Malformed(Exception):
    """These bytes are not what the schema says."""


class Decoder(Protocol):
    """One field of the rows of a piece."""

    datatype: str

    def read(self, data: bytes, position: int) -> int:
        """Take one value and return where the next begins; that may be beyond the end where data are cut short.

        Raises IndexError or Malformed.
        """
        ...

    def put(self, value: Any) -> None:
        """Take a value that is not in the data: a number, or bytes."""
        ...

    def piece(self) -> Piece:
        """Return what has been taken. Raises Malformed, ValueError or OverflowError where it is no column."""
        ...

    def clear(self) -> None:
        """Forget what has been taken."""
        ...


def field_of(name: str, schema: Any) -> Decoder:
    """Return the decoder of a field, by its parsed schema; raise Malformed for one that no column can have.

    Primitive types, ``fixed``, ``enum``, arrays of numbers of one length, and each of these or null.
    """
    kind = schema.type
    decoder: Decoder | None = None
    if kind == "union":
        others = [branch for branch in schema.schemas if branch.type != "null"]
        if len(others) == 1:
            decoder = Nullable(field_of(name, others[0]), [branch.type == "null" for branch in schema.schemas])
    elif kind == "array":
        if schema.items.type in _INTEGERS or schema.items.type in {"float", "double"}:
            decoder = Vectors(name, schema.items.type)
    elif kind in _PLAIN:
        decoder = _PLAIN[kind](schema)
    if decoder is None:
        reason = (
            f"field {name} is {str(schema)[:200]}; expected numbers, text, an array of numbers, each of them or null"
        )
        raise Malformed(reason)
    return decoder


def read_long(data: bytes, position: int) -> tuple[int, int]:
    """Return an int or long and where the next value begins. Raises IndexError or Malformed."""
    byte = data[position]
    position += 1
    number, shift = byte & 0x7F, 7
    while byte & 0x80:
        if shift > 63:  # ten bytes carry 64 bits
            raise Malformed("an integer has more than 64 bits")
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        shift += 7
    return (number >> 1) ^ -(number & 1), position


class Integers:
    """``int`` and ``long``."""

    def __init__(self, datatype: str) -> None:
        self.datatype = datatype
        self._values: list[int] = []

    def read(self, data: bytes, position: int) -> int:
        """See Decoder."""
        number, position = read_long(data, position)
        self._values.append(number)
        return position

    def put(self, value: Any) -> None:
        """See Decoder."""
        self._values.append(value)

    def piece(self) -> Piece:
        """See Decoder."""
        return np.array(self._values, DTYPES[self.datatype])

    def clear(self) -> None:
        """See Decoder."""
        self._values.clear()


class Raw:
    """``float``, ``double`` and ``boolean``: their bytes are those of the array."""

    def __init__(self, datatype: str) -> None:
        self.datatype = datatype
        self._dtype = DTYPES[datatype]
        self._values: list[bytes] = []

    def read(self, data: bytes, position: int) -> int:
        """See Decoder."""
        end = position + self._dtype.itemsize
        self._values.append(data[position:end])
        return end

    def put(self, value: Any) -> None:
        """See Decoder."""
        self._values.append(np.array(value, self._dtype).tobytes())

    def piece(self) -> Piece:
        """See Decoder."""
        array = np.frombuffer(b"".join(self._values), self._dtype)
        return array.view("u1").astype(bool) if self.datatype == "BOOL" else array

    def clear(self) -> None:
        """See Decoder."""
        self._values.clear()


class Strings:
    """``string`` and ``bytes``."""

    datatype = "BYTES"

    def __init__(self) -> None:
        self._values: list[bytes] = []

    def read(self, data: bytes, position: int) -> int:
        """See Decoder."""
        length, position = read_long(data, position)
        if length < 0:
            raise Malformed(f"a text of {length} bytes")
        self._values.append(data[position : position + length])
        return position + length

    def put(self, value: Any) -> None:
        """See Decoder."""
        self._values.append(value)

    def piece(self) -> Piece:
        """See Decoder."""
        return pack(self._values)

    def clear(self) -> None:
        """See Decoder."""
        self._values.clear()


class Fixed(Strings):
    """``fixed``: bytes of one length."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__()
        self._size_bytes = size_bytes

    def read(self, data: bytes, position: int) -> int:
        """See Decoder."""
        self._values.append(data[position : position + self._size_bytes])
        return position + self._size_bytes


class Enums(Strings):
    """``enum``: the text of the symbol."""

    def __init__(self, symbols: Sequence[str]) -> None:
        super().__init__()
        self._symbols = [symbol.encode() for symbol in symbols]

    def read(self, data: bytes, position: int) -> int:
        """See Decoder."""
        number, position = read_long(data, position)
        if number < 0:
            raise Malformed(f"symbol {number} of an enum")
        self._values.append(self._symbols[number])
        return position


class Vectors:
    """``array`` of numbers, of one length in all rows."""

    def __init__(self, name: str, items: str) -> None:
        self._name = name
        self.datatype = {**_INTEGERS, **_RAW}[items]
        self._dtype = DTYPES[self.datatype]
        self._is_raw = items in _RAW
        self._length: int | None = None
        self._values: list[Array | None] = []
        self._default: Any = 0

    def read(self, data: bytes, position: int) -> int:
        """See Decoder."""
        blocks: list[Array] = []
        count, position = read_long(data, position)
        while count:
            if count < 0:
                _, position = read_long(data, position)
            if abs(count) > len(data) - position:
                raise Malformed(f"an array of {abs(count)} items is cut short")
            block, position = self._block(data, position, abs(count))
            blocks.append(block)
            count, position = read_long(data, position)
        vector = blocks[0] if len(blocks) == 1 else np.concatenate([np.empty(0, self._dtype), *blocks])
        if self._length not in (None, len(vector)):
            raise Malformed(f"column {self._name} has vectors of {self._length} and of {len(vector)} items")
        self._length = len(vector)
        self._values.append(vector)
        return position

    def put(self, value: Any) -> None:
        """See Decoder. The number fills the vector."""
        self._default = value
        self._values.append(None)

    def piece(self) -> Piece:
        """See Decoder."""
        if self._length is None:
            raise Malformed(f"column {self._name} begins with more nulls than rows are read at a time")
        default = np.full(self._length, self._default, self._dtype)
        return np.stack([default if vector is None else vector for vector in self._values])

    def clear(self) -> None:
        """See Decoder. The length of the vectors stays."""
        self._values.clear()

    def _block(self, data: bytes, position: int, count: int) -> tuple[Array, int]:
        if self._is_raw:
            end = position + count * self._dtype.itemsize
            if end > len(data):
                raise Malformed("an array is cut short")
            return np.frombuffer(data, self._dtype, count, position), end
        numbers = []
        for _ in range(count):
            number, position = read_long(data, position)
            numbers.append(number)
        return np.array(numbers, self._dtype), position


class Nullable:
    """A union of null and one other. ``default`` is put where a null stands; ``nulls`` are those rows of the piece."""

    def __init__(self, decoder: Decoder, branches: Sequence[bool]) -> None:
        self.datatype = decoder.datatype
        self.default: Any = b"" if decoder.datatype == "BYTES" else 0
        self.nulls: list[int] = []
        self._decoder = decoder
        self._is_null = branches
        self._rows = 0

    def read(self, data: bytes, position: int) -> int:
        """See Decoder."""
        branch, position = read_long(data, position)
        if branch < 0:
            raise Malformed(f"branch {branch} of a union")
        if self._is_null[branch]:
            self.put(self.default)
            return position
        self._rows += 1
        return self._decoder.read(data, position)

    def put(self, value: Any) -> None:
        """See Decoder."""
        self.nulls.append(self._rows)
        self._rows += 1
        self._decoder.put(value)

    def piece(self) -> Piece:
        """See Decoder."""
        return self._decoder.piece()

    def clear(self) -> None:
        """See Decoder."""
        self.nulls.clear()
        self._rows = 0
        self._decoder.clear()


_PLAIN: Final[dict[str, Callable[[Any], Decoder]]] = {
    **{kind: lambda schema: Integers(_INTEGERS[schema.type]) for kind in _INTEGERS},
    **{kind: lambda schema: Raw(_RAW[schema.type]) for kind in _RAW},
    "string": lambda _: Strings(),
    "bytes": lambda _: Strings(),
    "fixed": lambda schema: Fixed(schema.size),
    "enum": lambda schema: Enums(schema.symbols),
}
