"""An Arrow IPC stream as a request has it: the columns of its record batches, as places in its bytes.

The batches are read here and not by pyarrow: a JVM client's structs are shorter than their children, which pyarrow cuts
off, and a batch that says it is compressed may ask for any amount of memory. Schemas are pyarrow's to read; there are
few, and they are remembered.
"""

from __future__ import annotations

import functools
import itertools
import struct
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import numpy as np

from pipeline.codecs.cluster_serving import flat_buffer
from pipeline.errors import Undecodable
from pipeline.tensors import Array

FILE_MAGIC: Final = b"ARROW1\0\0"  # a file is a stream between this and a footer, which nothing here needs
_CONTINUES: Final = b"\xff\xff\xff\xff"
_LENGTH: Final = struct.Struct("<i")
_SCHEMA, _BATCH = 1, 3  # what a message may be; 2 is a dictionary
_LARGEST_SCHEMA: Final = 256 * 1024


class Leaf(NamedTuple):
    """An array without children: the place of its node and of its last buffer. ``dtype`` is None for text."""

    node: int
    buffer: int
    dtype: np.dtype[Any] | None


class Column(NamedTuple):
    """A column: one leaf, or the leaves of its children by name; ``what`` is its type, for people."""

    name: str
    what: str
    leaf: Leaf | None
    children: dict[str, Leaf]


class Batch(NamedTuple):
    """One record batch. ``nodes`` are (length, nulls), ``buffers`` are (start, end) in ``data``."""

    data: bytes
    columns: tuple[Column, ...]
    nodes: list[tuple[int, int]]
    buffers: list[tuple[int, int]]

    def numbers(self, leaf: Leaf) -> Array:
        """Return the elements of a leaf of numbers, a view that may not be aligned. Raises Undecodable."""
        length, _ = self.nodes[leaf.node]
        return self._view(leaf, length, np.dtype("V1") if leaf.dtype is None else leaf.dtype, leaf.buffer)

    def texts(self, leaf: Leaf) -> list[bytes]:
        """Return the elements of a leaf of text. Raises Undecodable."""
        length, _ = self.nodes[leaf.node]
        ends = self._view(leaf, length + 1 if length else 0, np.dtype("<i4"), leaf.buffer - 1).tolist()
        start, end = self.buffers[leaf.buffer]
        places = list(itertools.pairwise(ends))
        if any(not 0 <= one <= next_ <= end - start for one, next_ in places):
            raise Undecodable("an Arrow column of text has offsets that lie outside it")
        return [self.data[start + one : start + next_] for one, next_ in places]

    def _view(self, leaf: Leaf, length: int, dtype: np.dtype[Any], buffer: int) -> Array:
        if self.nodes[leaf.node][1]:
            raise Undecodable("an Arrow column has nulls among its elements")
        start, end = self.buffers[buffer]
        if length < 0 or length * dtype.itemsize > end - start:
            raise Undecodable(f"an Arrow column claims {length} elements, and has {end - start} bytes")
        return np.frombuffer(self.data, dtype, length, start) if length else np.empty(0, dtype)


def batches(data: bytes) -> Iterator[Batch]:
    """Yield the record batches of a stream or a file; raises Undecodable for any bytes that are neither."""
    try:
        messages = _messages(data)
        first = next(messages, None)
        if first is None:
            reason = "it is empty"
        elif first.header.byte(1) != _SCHEMA or first.start - first.metadata > _LARGEST_SCHEMA:
            reason = "its first message is no schema, or one of more than 256 KiB"
        else:
            columns = _columns(data[first.metadata : first.start])
            yield from (_batch(data, columns, message) for message in messages)
            return
    except ValueError as error:
        raise Undecodable(f"not an Arrow stream: {error}") from error
    raise Undecodable(f"not an Arrow stream: {reason}")


class _Message(NamedTuple):
    """A message: its metadata, and where that begins, and where its body begins and ends."""

    header: flat_buffer.Table
    metadata: int
    start: int
    end: int


def _messages(data: bytes) -> Iterator[_Message]:
    at = len(FILE_MAGIC) if data.startswith(FILE_MAGIC) else 0
    while at < len(data):
        metadata, start = _metadata(data, at)
        if metadata == start:
            return
        header = flat_buffer.root(data[metadata:start])
        at = start + header.long(3)
        if not start <= at <= len(data):
            raise ValueError(f"a message ends at byte {at}, the data at byte {len(data)}")
        yield _Message(header, metadata, start, at)


def _metadata(data: bytes, at: int) -> tuple[int, int]:
    """Return where the metadata of a message begins and ends; nowhere at the end of the stream."""
    if data.startswith(_CONTINUES, at):  # what writers before 2019 left out
        at += len(_CONTINUES)
    if at + _LENGTH.size > len(data):
        raise ValueError(f"it ends within a message, at byte {len(data)}")
    [length] = _LENGTH.unpack_from(data, at)
    start = at + _LENGTH.size
    if not 0 <= length <= len(data) - start:
        raise ValueError(f"a message of {length} bytes begins at byte {start}, the data has {len(data)}")
    return start, start + length


def _batch(data: bytes, columns: tuple[Column, ...], message: _Message) -> Batch:
    if message.header.byte(1) != _BATCH:
        raise ValueError("a message is no record batch; dictionaries are not read")
    header, start, end = message.header.table(2), message.start, message.end
    if header.has(3):
        raise ValueError("its record batch is compressed; send it as it is")
    buffers = [(start + offset, start + offset + length) for offset, length in header.pairs(2)]
    if any(not start <= one <= two <= end for one, two in buffers):
        raise ValueError("a buffer lies outside its record batch")
    return Batch(data, columns, header.pairs(1), buffers)


@functools.lru_cache(256)
def _columns(metadata: bytes) -> tuple[Column, ...]:
    """Return where the columns of a schema have their parts in each batch. Raises ValueError."""
    import pyarrow as pa  # noqa: PLC0415  # an extra, which only routes of this format need

    try:
        schema = pa.ipc.read_schema(pa.py_buffer(_CONTINUES + _LENGTH.pack(len(metadata)) + metadata))
        fields = [(field.name, field.type) for field in schema]
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise ValueError(str(error)) from error
    columns: list[Column] = []
    node = buffer = 0
    for name, kind in fields:
        children: dict[str, Leaf] = {}
        leaf: Leaf | None = None
        if pa.types.is_struct(kind):
            node, buffer = node + 1, buffer + 1
            for child in kind:
                if not pa.types.is_list(child.type):
                    raise ValueError(f"column {name!r} has the type {kind}")
                children[child.name] = Leaf(node + 1, buffer + 3, _dtype(child.type.value_type))
                node, buffer = node + 2, buffer + 4
        else:
            is_text = pa.types.is_string(kind)
            leaf = Leaf(node, buffer + (2 if is_text else 1), None if is_text else _dtype(kind))
            node, buffer = node + 1, leaf.buffer + 1
        columns.append(Column(name, str(kind), leaf, children))
    return tuple(columns)


def _dtype(kind: Any) -> np.dtype[Any]:
    """Return the dtype of numbers of whole bytes; raises ValueError for everything else."""
    import pyarrow as pa  # noqa: PLC0415  # as above

    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        raise ValueError(f"elements of type {kind}, expected numbers")
    dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype()).newbyteorder("<")
    return dtype
