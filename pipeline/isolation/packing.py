"""Arrays in shared memory: written once by one side, read where they lie by the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from mmap import mmap
from typing import Final

import numpy as np

from pipeline.errors import Undecodable
from pipeline.isolation.messages import Placed
from pipeline.isolation.segment import Arena
from pipeline.tensors import DTYPES, Array, Tensor, datatype_of, from_array

# Where vector instructions like their operands; mapped memory begins on a page.
_ALIGNMENT: Final = 64


def put(arrays: Mapping[str, Array], arena: Arena) -> tuple[Placed, ...]:
    """Write arrays to an arena, one copy, and return where they lie.

    Text becomes BYTES. Raises TypeError and ValueError as ``from_array`` does, OSError without memory.
    """
    placed: list[Placed] = []
    contents: list[Array | memoryview] = []
    end = 0
    for name, value in arrays.items():
        array = np.asarray(value)
        datatype = datatype_of(array.dtype)
        if datatype == "BYTES":
            content: Array | memoryview = memoryview(from_array(name, array).data)
            size_bytes = len(content)
        else:
            content, size_bytes = array, array.size * DTYPES[datatype].itemsize
        placed.append(Placed(name, datatype, array.shape, end, size_bytes))
        contents.append(content)
        end += -(-size_bytes // _ALIGNMENT) * _ALIGNMENT
    memory = arena.room(end)
    for place, content in zip(placed, contents, strict=True):
        if isinstance(content, memoryview):
            memory[place.offset : place.offset + place.size_bytes] = content
        else:
            np.copyto(np.ndarray(place.shape, DTYPES[place.datatype], memory, place.offset), content)
    return tuple(placed)


def views(placed: Iterable[Placed], memory: mmap) -> dict[str, Array]:
    """Return arrays by name: views of the memory, as read-only as it is; of BYTES, objects of their own.

    Raises ValueError where they do not lie in it.
    """
    try:
        return {place.name: _view(place, memory) for place in placed}
    except (KeyError, TypeError, Undecodable) as error:
        raise ValueError(f"no tensors: {error!r}") from error


def _view(place: Placed, memory: mmap) -> Array:
    if not 0 <= place.offset <= place.offset + place.size_bytes <= len(memory):
        raise ValueError(f"{place.name!r} ends at {place.offset + place.size_bytes} of {len(memory)} bytes")
    if place.datatype != "BYTES":
        return np.ndarray(place.shape, DTYPES[place.datatype], memory, place.offset)
    content = memory[place.offset : place.offset + place.size_bytes]
    tensor = Tensor(place.name, place.datatype, place.shape, content)
    tensor.check()
    return tensor.array()
