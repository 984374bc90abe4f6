"""Sparse tensors, which no servable here takes: they are made dense."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pipeline.errors import Undecodable
from pipeline.tensors import MOST_AXES, Array


def dense(
    name: str,
    indices: Array,
    indices_shape: Sequence[int],
    values: Array,
    shape: Sequence[int],
    most_bytes: int,
) -> Array:
    """Return the array of ``shape`` that has ``values`` at ``indices`` and 0 elsewhere.

    ``indices`` are flat, zero-based and of shape [rank, values], as Python's clients have them, or [values, rank];
    where both fit, the former. Of several values at one place the last one counts. Raises Undecodable, before anything
    is allocated, for what does not fit together or would be larger than ``most_bytes``.
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
    if size_bytes > most_bytes:
        reason = f"{size_bytes} bytes when it is dense, the limit is {most_bytes}; raise max_record_bytes of the route"
        raise Undecodable(f"sparse tensor {name!r} of shape {list(shape)} has {reason}")
    places = indices.reshape(rank, count) if is_python else indices.reshape(count, rank).T
    limits = np.array(shape, np.int64).reshape(rank, 1)
    if ((places < 0) | (places >= limits)).any():
        raise Undecodable(f"sparse tensor {name!r} has an index outside its shape {list(shape)}; they begin at 0")
    array = np.zeros(tuple(shape), values.dtype)
    array[tuple(places.astype(np.int64))] = values
    return array
