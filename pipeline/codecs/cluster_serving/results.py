"""Results as their clients read them: base64 of an Arrow stream with one batch for each output, or ``NaN``."""

from __future__ import annotations

import binascii
import functools
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from pipeline.codecs.cluster_serving import arrow_stream
from pipeline.errors import NotRepresentable, Undecodable
from pipeline.tensors import Array, Tensor, datatype_of

# What their clients return as it is, and what a client of a topic fails at: base64 it is not.
FAILED: Final = b"NaN"
# Where a result that failed says why: beside its value, as header or field.
CODE: Final = "error-code"
REASON: Final = "error"
# In elements: what stands around them has half their size.
_LARGEST_REMEMBERED: Final = 16 * 1024
_END: Final = b"\xff\xff\xff\xff\0\0\0\0"


def write(outputs: Sequence[tuple[str, Array]]) -> bytes:
    """Return the text that their clients turn into one array, or into a list where there are several outputs.

    Datatypes stay as they are, BOOL becomes UINT8; several outputs share the smallest datatype that holds all of them,
    for a stream has one schema. Axes of length 1 are left out, from the left, where an array has more axes than
    elements: a shape has no more room than its data. Raises NotRepresentable for text, for an output without elements,
    and for whole numbers that the shared datatype can not hold (INT64 beside UINT64 or floats: above 2^53).
    """
    if not outputs:
        raise NotRepresentable("there are no outputs")
    for name, array in outputs:
        if array.dtype.kind not in "biuf" or not array.size:
            what = "no elements" if not array.size else "text"
            raise NotRepresentable(f"output {name!r} has {what}; only numbers, one at least, have a form there")
    dtype = np.result_type(*[np.uint8 if array.dtype.kind == "b" else array.dtype for _, array in outputs])
    dtype = dtype.newbyteorder("<")
    parts = [_schema(dtype.str)]
    for name, array in outputs:
        _check_kept(name, array, dtype)
        around = _batch if array.size <= _LARGEST_REMEMBERED else _batch.__wrapped__
        head, tail = around(dtype.str, _kept(array.shape, array.size), array.size)
        parts += (head, np.ascontiguousarray(array, dtype).tobytes(), tail)
    return binascii.b2a_base64(b"".join([*parts, _END]), newline=False)


def _check_kept(name: str, array: Array, dtype: np.dtype[Any]) -> None:
    """Raise NotRepresentable where a datatype changes one of an array's elements: a whole number, as a float."""
    if array.dtype.kind not in "iu" or dtype.kind != "f" or array.dtype.itemsize < dtype.itemsize:
        return
    changed = array.astype(dtype)
    # The largest of a datatype is one too many as a float, and what comes of it depends on the machine.
    is_kept = changed < float(np.iinfo(array.dtype).max)
    is_kept &= np.where(is_kept, changed, 0).astype(array.dtype) == array
    if not is_kept.all():
        place = int(np.argmin(is_kept.ravel()))
        reason = f"element {place} of output {name!r} is {array.ravel()[place]}, which is no {datatype_of(dtype)}"
        raise NotRepresentable(f"{reason}, the datatype that all outputs of one result share")


def read(value: bytes) -> tuple[Tensor, ...]:
    """Return the outputs of a result, named by their places; raises Undecodable."""
    try:
        data = binascii.a2b_base64(value, strict_mode=True)
    except binascii.Error as error:
        raise Undecodable(f"not base64: {error}") from error
    outputs = []
    for place, batch in enumerate(arrow_stream.batches(data)):
        leaves = [column.leaf for column in batch.columns[:2]]
        if len(leaves) < 2 or leaves[0] is None or leaves[1] is None or leaves[0].dtype is None:
            raise Undecodable("a result has the columns data and shape")
        try:
            values = batch.numbers(leaves[0])
            start, end = batch.buffers[leaves[1].buffer]
        except IndexError as error:
            raise Undecodable("a column has no data in its record batch") from error
        room = (end - start) // 4
        axes = np.frombuffer(data, "<i4", min(len(values), room), start).tolist()  # null is 0, too
        shape = tuple(axis for axis in axes if axis)
        tensor = Tensor(f"output_{place}", datatype_of(values.dtype), shape, values.tobytes())
        tensor.check()
        outputs.append(tensor)
    return tuple(outputs)


def _kept(shape: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Return a shape without as many of its axes of length 1, from the left, as there are too many. Pure."""
    kept, surplus = list(shape), len(shape) - size
    while surplus > 0:
        kept.remove(1)
        surplus -= 1
    return tuple(kept)


# Results of one form differ in their data alone: pyarrow writes the first, and the others are cut to its measure.


@functools.lru_cache(64)
def _schema(dtype: str) -> bytes:
    import pyarrow as pa  # noqa: PLC0415  # an extra, which only routes of this format need

    return bytes(pa.schema([("data", pa.from_numpy_dtype(np.dtype(dtype))), ("shape", pa.int32())]).serialize())


@functools.lru_cache(256)
def _batch(dtype: str, shape: tuple[int, ...], size: int) -> tuple[bytes, bytes]:
    """Return what stands before and after the data of a record batch."""
    import pyarrow as pa  # noqa: PLC0415  # as above

    padded = np.zeros(size, np.int32)
    padded[: len(shape)] = shape
    is_null = np.arange(size) >= len(shape)
    columns = [pa.array(np.zeros(size, dtype)), pa.array(padded, mask=is_null)]
    written = bytes(pa.record_batch(columns, names=["data", "shape"]).serialize())
    [batch] = arrow_stream.batches(_schema(dtype) + written)
    start, _ = batch.buffers[1]
    start -= len(_schema(dtype))
    return written[:start], written[start + size * np.dtype(dtype).itemsize :]
