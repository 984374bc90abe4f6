"""Python values to tensors, and results to Python values. Pure."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.errors import RemoteError
from pipeline.records import PredictResult
from pipeline.tensors import Array, Tensor, from_array

# What an answer is in Python: the array of the one output, or all of them by name.
Value = Array | dict[str, Array]


def tensor_of(name: str, value: object) -> Tensor:
    """Return the tensor of one value; raises TypeError, naming the tensor, for what is no tensor.

    An array is sent as it is: its dtype, its shape, the batch axis included where it has one. A list or tuple becomes
    an array. One number, bool, str or bytes is one row: shape [1]. Python's own floats become FP32 (what models take,
    and what the ancestor sent), its ints INT64; text becomes BYTES in UTF-8; ``{"b64": text}`` is the bytes it
    encodes. For another datatype, give a numpy array.
    """
    try:
        array = value if isinstance(value, np.ndarray) else _array(value)
        return from_array(name, array)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"tensor {name!r}: {error}") from error


def tensors_of(data: Mapping[str, object]) -> tuple[Tensor, ...]:
    """Return the tensors of a mapping from name to value, in its order; see ``tensor_of``."""
    return tuple([tensor_of(name, value) for name, value in data.items()])


def value_of(result: PredictResult) -> Value:
    """Return the outputs: the array where there is one, else a dict by name. Raises RemoteError for an error result.

    The arrays are the caller's own and writable; BYTES are object arrays of bytes.
    """
    error = error_of(result)
    if error is not None:
        raise error
    arrays = {tensor.name: _own(tensor) for tensor in result.outputs}
    return next(iter(arrays.values())) if len(arrays) == 1 else arrays


def error_of(result: PredictResult) -> RemoteError | None:
    """Return the error that an error result carries, None for any other."""
    error = result.error
    return None if error is None else RemoteError(result.id, error.code, error.message, error.retriable)


def _own(tensor: Tensor) -> Array:
    array = tensor.array()
    return array if array.flags.writeable else array.copy()


def _array(value: object) -> Array:
    if isinstance(value, Mapping):
        value = _from_base64(value)
    if not isinstance(value, list | tuple):
        value = [bytes(value) if isinstance(value, bytearray | memoryview) else value]  # one row
    leaf: Any = value
    while isinstance(leaf, list | tuple) and leaf:
        leaf = leaf[0]
    if isinstance(leaf, Mapping):
        return np.array([_from_base64(item) for item in value], object)
    if isinstance(leaf, str | bytes):
        return np.array(value, object)  # numpy's own text and bytes types would cut trailing zero bytes
    array = np.asarray(value)
    if array.dtype.kind in "US" and not isinstance(leaf, np.ndarray):
        raise TypeError(f"numbers and text in one list, which begins with {leaf!r}")
    is_python_float = isinstance(leaf, float) and not isinstance(leaf, np.generic)
    if array.dtype == np.float64 and (is_python_float or not isinstance(leaf, np.ndarray | np.generic)):
        return array.astype(np.float32)
    return array


def _from_base64(value: object) -> bytes:
    if not isinstance(value, Mapping) or set(value) != {"b64"} or not isinstance(value["b64"], str):
        raise TypeError('expected an array, a list, a number, text, bytes, or {"b64": text}')
    try:
        return base64.b64decode(value["b64"], validate=True)
    except binascii.Error as error:
        raise TypeError(f"its b64 is not base64: {error}") from error
