"""The columns of an Arrow request as tensors."""

from __future__ import annotations

from typing import Final

import numpy as np

from pipeline.codecs.cluster_serving import arrow_stream, sparse, text
from pipeline.codecs.cluster_serving.arrow_stream import Batch, Column
from pipeline.codecs.codec import Limits
from pipeline.errors import TooManyTensors, Undecodable
from pipeline.tensors import Tensor, datatype_of, from_array

_DATA, _SHAPE, _INDICES, _INDICES_SHAPE = "data", "shape", "indiceData", "indiceShape"
_TENSOR: Final = {_DATA, _SHAPE}
_SPARSE: Final = {_DATA, _SHAPE, _INDICES, _INDICES_SHAPE}


def tensors_of(data: bytes, limits: Limits) -> tuple[Tensor, ...]:
    """Return the columns of an Arrow stream of one batch, or of each batch of an Arrow file; raises BadRequest.

    A struct is a tensor, dense or sparse, whichever way its lists lie over its rows; text is an image or texts; a
    number is [rows]. All are checked.
    """
    tensors: list[Tensor] = []
    is_file = data.startswith(arrow_stream.FILE_MAGIC)
    for count, batch in enumerate(arrow_stream.batches(data), 1):
        if count > 1 and not is_file:
            raise Undecodable("it has several record batches, one for each instance: send each in an entry of its own")
        if len(tensors) + len(batch.columns) > limits.max_tensors:
            raise TooManyTensors(len(tensors) + len(batch.columns), limits.max_tensors)
        for column in batch.columns:
            try:
                tensors.append(_tensor(batch, column, sparse.room(tensors, limits)))
            except IndexError as error:
                raise Undecodable(f"column {column.name!r} has no data in its record batch") from error
    return tuple(tensors)


def _tensor(batch: Batch, column: Column, room_bytes: int) -> Tensor:
    if column.children:
        return _of_struct(batch, column, room_bytes)
    leaf = column.leaf
    if leaf is None:
        raise Undecodable(f"column {column.name!r} is an empty struct")
    if leaf.dtype is not None:
        return from_array(column.name, batch.numbers(leaf))
    text.check_count(column.name, batch.nodes[leaf.node][0])
    texts = batch.texts(leaf)
    if len(texts) == 1:
        return text.tensor_of(column.name, texts[0])
    array = np.empty(len(texts), object)
    array[:] = texts
    return from_array(column.name, array)


def _of_struct(batch: Batch, column: Column, room_bytes: int) -> Tensor:
    names = set(column.children)
    if names not in (_TENSOR, _SPARSE) or any(leaf.dtype is None for leaf in column.children.values()):
        expected = "lists of numbers called data, shape, and perhaps indiceData and indiceShape"
        raise Undecodable(f"column {column.name!r} is {column.what}, expected {expected}")
    found = {name: batch.numbers(leaf) for name, leaf in column.children.items()}
    for name in names - {_DATA}:
        if found[name].dtype.kind not in "iu":
            raise Undecodable(f"column {column.name!r}: {name} is {found[name].dtype}, expected integers")
    values, shape = found[_DATA], tuple(found[_SHAPE].tolist())
    indices_shape = found[_INDICES_SHAPE].tolist() if _INDICES_SHAPE in found else []
    if indices_shape:
        indices = found[_INDICES].astype(np.int64)
        array = sparse.dense(column.name, indices, indices_shape, values, shape, room_bytes)
        return from_array(column.name, array)
    tensor = Tensor(column.name, datatype_of(values.dtype), shape, values.tobytes())
    tensor.check()
    return tensor
