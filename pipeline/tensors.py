"""Tensors on the wire and in memory: the Open Inference Protocol's datatypes, stacking and splitting along axis 0."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from pipeline.errors import Undecodable

Array = npt.NDArray[Any]

# The order is that of the enum `Datatype` in schemas/*.avsc; a test compares them.
DATATYPES: Final[tuple[str, ...]] = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES",
)  # fmt: skip

DTYPES: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype("?"),
    "UINT8": np.dtype("u1"),
    "UINT16": np.dtype("<u2"),
    "UINT32": np.dtype("<u4"),
    "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"),
    "INT16": np.dtype("<i2"),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "FP64": np.dtype("<f8"),
    "BYTES": np.dtype("O"),
}
# What numpy has had since ever, and how large an axis, or all but the empty ones of an array without elements, may be.
MOST_AXES: Final = 32
_MOST_ELEMENTS: Final = 2**48
_NAMES: Final = {dtype: name for name, dtype in DTYPES.items()}


class Tensor(msgspec.Struct, frozen=True, gc=False):
    """One named tensor as the wire carries it.

    ``data`` holds little-endian, row-major elements: ``prod(shape) * itemsize`` bytes, or for BYTES each element as a
    4-byte little-endian length and then its bytes (the Open Inference Protocol's binary form). A codec that returns a
    Tensor has called ``check`` on it, so that nobody after it needs to.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | memoryview

    def check(self) -> None:
        """Raise Undecodable unless the shape is valid and agrees with the number of bytes; allocates nothing."""
        check_shape(self.name, self.shape)
        if self.datatype == "BYTES":
            _check_bytes(self)
        else:
            _check_numbers(self)
        if not self.data and math.prod(axis for axis in self.shape if axis) > _MOST_ELEMENTS:
            raise Undecodable(f"tensor {self.name!r} has no array of its shape {list(self.shape)}")

    def array(self) -> Array:
        """Return the elements, shape ``self.shape``; an object array of bytes for BYTES.

        Numbers are a read-only view, or a copy where they do not lie as a processor wants them.
        """
        if self.datatype == "BYTES":
            return _objects(_elements(self.data), self.shape)
        array = np.frombuffer(self.data, DTYPES[self.datatype]).reshape(self.shape)
        return array if array.flags.aligned else array.copy()


def check_shape(name: str, shape: Sequence[int]) -> None:
    """Raise Undecodable for a shape that no array has: before its axes are multiplied, which may take minutes."""
    if len(shape) > MOST_AXES:
        raise Undecodable(f"tensor {name!r} has {len(shape)} axes, the limit is {MOST_AXES}")
    if shape and min(shape) < 0:
        raise Undecodable(f"tensor {name!r} has a negative axis in its shape {list(shape)}")
    if shape and max(shape) > _MOST_ELEMENTS:
        raise Undecodable(f"tensor {name!r} has an axis of more than {_MOST_ELEMENTS} in its shape")


def from_array(name: str, array: Array) -> Tensor:
    """Return the wire form of an array of any layout and byte order; text becomes BYTES in UTF-8.

    Raises TypeError for a dtype that the protocol does not have (complex, datetime, structured), ValueError for an
    object that is neither text nor bytes, and for text that UTF-8 has not (half of a surrogate pair).
    """
    name_of = datatype_of(array.dtype)
    if name_of == "BYTES":
        return Tensor(name, name_of, array.shape, _pack(array))
    return Tensor(name, name_of, array.shape, np.ascontiguousarray(array, DTYPES[name_of]).tobytes())


def datatype_of(dtype: np.dtype[Any]) -> str:
    """Return the protocol's name of a numpy dtype; TypeError where it has none."""
    if dtype.kind in "OSUT":
        return "BYTES"
    name = _NAMES.get(dtype.newbyteorder("<"))
    if name is None:
        raise TypeError(f"dtype {dtype} has no Open Inference Protocol datatype; use one of {', '.join(DATATYPES)}")
    return name


def stack(tensors: Sequence[Tensor]) -> Array:
    """Join the rows of tensors that differ in axis 0 only into one array [rows, ...], in order; one copy.

    All tensors have the same datatype and the same axes after the first. One tensor alone is not copied; the result
    may be read-only.
    """
    first = tensors[0]
    if len(tensors) == 1:
        return first.array()
    rest = first.shape[1:]
    rows = sum(tensor.shape[0] for tensor in tensors)
    if first.datatype == "BYTES":
        return _objects([element for tensor in tensors for element in _elements(tensor.data)], (rows, *rest))
    return np.frombuffer(b"".join([t.data for t in tensors]), DTYPES[first.datatype]).reshape(rows, *rest)


def split(name: str, array: Array, rows: Sequence[int]) -> list[Tensor]:
    """Cut array [rows, ...] into tensors of the given row counts, in order; ``sum(rows) == len(array)``.

    The inverse of ``stack``: numbers are serialised once for all tensors.
    """
    datatype = datatype_of(array.dtype)
    rest = array.shape[1:]
    if datatype == "BYTES":
        ends = np.cumsum(rows)
        return [
            Tensor(name, datatype, (n, *rest), _pack(array[end - n : end])) for n, end in zip(rows, ends, strict=True)
        ]
    data = np.ascontiguousarray(array, DTYPES[datatype]).tobytes()
    row_bytes = math.prod(rest) * DTYPES[datatype].itemsize
    tensors = []
    start = 0
    for n in rows:
        end = start + n * row_bytes
        tensors.append(Tensor(name, datatype, (n, *rest), data[start:end]))
        start = end
    return tensors


def more_rows(array: Array, rows: int) -> Array:
    """Return the array with its last row repeated until there are so many: one that is known to be valid."""
    return np.concatenate([array, np.repeat(array[-1:], rows - len(array), axis=0)])


def join(tensors: Sequence[Tensor]) -> Tensor:
    """Return the rows of tensors, in order, as one tensor; raises ValueError where more than axis 0 differs."""
    first = tensors[0]
    for other in tensors:
        if (other.name, other.datatype, other.shape[1:]) != (first.name, first.datatype, first.shape[1:]):
            one, two = (f"{it.name!r} {it.datatype} {list(it.shape)}" for it in (first, other))
            raise ValueError(f"{one} and {two}")
    rows = sum(tensor.shape[0] for tensor in tensors)
    return Tensor(first.name, first.datatype, (rows, *first.shape[1:]), b"".join([t.data for t in tensors]))


def _pack(array: Array) -> bytes:
    parts: list[bytes] = []
    for element in array.ravel():
        if not isinstance(element, str | bytes):
            # No TypeError: those are about a dtype, and so about all elements.
            raise ValueError(f"element {element!r} of an object array is neither text nor bytes")  # noqa: TRY004  # see above
        value = element.encode() if isinstance(element, str) else element
        parts += (len(value).to_bytes(4, "little"), value)
    return b"".join(parts)


def _elements(data: bytes | memoryview) -> list[bytes]:
    elements = []
    position, view = 0, memoryview(data)
    while position < len(view):
        end = position + 4 + int.from_bytes(view[position : position + 4], "little")
        elements.append(bytes(view[position + 4 : end]))
        position = end
    return elements


def _objects(elements: list[bytes], shape: tuple[int, ...]) -> Array:
    array = np.empty(len(elements), object)
    array[:] = elements
    return array.reshape(shape)


def _check_numbers(tensor: Tensor) -> None:
    rows = math.prod(tensor.shape)
    dtype = DTYPES.get(tensor.datatype)
    if dtype is None:
        raise Undecodable(f"tensor {tensor.name!r} has datatype {tensor.datatype!r}, expected one of {DATATYPES}")
    if rows * dtype.itemsize != len(tensor.data):
        raise Undecodable(
            f"tensor {tensor.name!r} of shape {list(tensor.shape)} and {tensor.datatype} needs "
            f"{rows * dtype.itemsize} bytes, got {len(tensor.data)}"
        )


def _check_bytes(tensor: Tensor) -> None:
    position, count, view = 0, 0, memoryview(tensor.data)
    while position < len(view):
        position += 4 + int.from_bytes(view[position : position + 4], "little")
        count += 1
    if position != len(view):
        raise Undecodable(f"tensor {tensor.name!r}: its last element is cut short")
    if count != math.prod(tensor.shape):
        raise Undecodable(f"tensor {tensor.name!r} of shape {list(tensor.shape)} has {count} elements")
