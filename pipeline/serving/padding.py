"""Padding of arrays: shorter requests to one length, and what makes a mask."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from pipeline.tensors import DTYPES, Array, Tensor, from_array


def element(datatype: str, value: Any) -> Any:
    """Return the element of this datatype that ``value`` stands for; 0 is the empty BYTES.

    Raises ValueError, TypeError or OverflowError for one that it can not hold: text among numbers, 0.5 or -1 in UINT8.
    """
    if datatype == "BYTES":
        if isinstance(value, str):
            return value.encode()
        if value == 0:
            return b""
        raise TypeError(value)
    if isinstance(value, str):
        raise TypeError(value)
    held = np.array(value).astype(DTYPES[datatype])[()]
    if not datatype.startswith("FP") and held != value:
        raise ValueError(value)
    if datatype.startswith("FP") and math.isinf(held) and not math.isinf(value):
        raise OverflowError(value)
    return held


def ones(name: str, datatype: str, shape: Sequence[int]) -> Tensor:
    """Return the mask of a request before it is padded: every element counts."""
    return from_array(name, np.ones(shape, DTYPES[datatype]))


def stack(tensors: Sequence[Tensor], shape: Sequence[int], value: Any) -> Array:
    """Join the rows of tensors, each padded at its ends by ``value``, into one array of this shape.

    No tensor is longer than ``shape`` in any axis but the first, where they make up all of it.
    """
    array = np.full(shape, value, DTYPES[tensors[0].datatype])
    start = 0
    for tensor in tensors:
        end = start + tensor.shape[0]
        array[(slice(start, end), *map(slice, tensor.shape[1:]))] = tensor.array()
        start = end
    return array
