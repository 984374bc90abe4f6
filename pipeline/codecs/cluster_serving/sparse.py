"""Sparse tensors, which no servable here takes: they are made dense."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipeline.codecs.codec import Limits
from pipeline.errors import Undecodable
from pipeline.tensors import MOST_AXES, Array, Tensor


def room(tensors: Sequence[Tensor], limits: Limits) -> int:
    """Return how many bytes the next tensor of a request may have behind these: no request is larger when dense."""
    return limits.max_record_bytes - sum(len(tensor.data) for tensor in tensors)


def dense(
    name: str,
    indices: Array,
    indices_shape: Sequence[int],
    values: Array,
    shape: Sequence[int],
    room_bytes: int,
) -> Array:
    """Return the array of ``shape`` that has ``values`` at ``indices`` and 0 elsewhere.

    ``indices`` are flat, zero-based and of shape [rank, values], as Python's clients have them, or [values, rank];
    where both fit, the former. Of several values at one place the last one counts. Raises Undecodable, before anything
    is allocated, for what does not fit together or would be larger than ``room_bytes``.
    """
    rank, count = len(shape), len(values)
    is_python = tuple(indices_shape) == (rank, count)
    if not is_python and tuple(indices_shape) != (count, rank):
        expected = f"[{rank}, {count}] or [{count}, {rank}]"
        raise Undecodable(f"sparse tensor {name!r} has indices of shape {list(indices_shape)}, expected {expected}")
    if len(indices) != rank * count or rank > MOST_AXES or any(axis < 0 for axis in shape):
        reason = f"{len(indices)} indices and shape {list(shape)} for {count} values"
        raise Undecodable(f"sparse tensor {name!r} has {reason}")
    # An axis of length 0 makes no room for others: numpy has no array of them, and no number as large as they may be.
    size_bytes = math.prod(axis or 1 for axis in shape) * values.itemsize
    if size_bytes > room_bytes:
        limit = f"the limit beside its request's others is {room_bytes}; raise max_record_bytes of the route"
        reason = f"{size_bytes} bytes when it is dense, {limit}"
        raise Undecodable(f"sparse tensor {name!r} of shape {list(shape)} has {reason}")
    places = indices.reshape(rank, count) if is_python else indices.reshape(count, rank).T
    limits = np.array(shape, np.int64).reshape(rank, 1)
    if ((places < 0) | (places >= limits)).any():
        raise Undecodable(f"sparse tensor {name!r} has an index outside its shape {list(shape)}; they begin at 0")
    array = np.zeros(tuple(shape), values.dtype)
    array[tuple(places.astype(np.int64))] = values
    return array
