"""JSON instances (``serde`` is ``stream``): one instance, an object of named values."""

from __future__ import annotations

import binascii
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import numpy as np

from pipeline.codecs.cluster_serving import sparse, text
from pipeline.codecs.codec import Limits
from pipeline.errors import TooManyTensors, Undecodable
from pipeline.tensors import Tensor, from_array


class _Instances(msgspec.Struct, frozen=True):
    instances: list[dict[str, Any]]


class _Sparse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    shape: list[int]
    data: list[float]
    indices: list[list[int]]


class _Texts(msgspec.Struct, frozen=True):
    instances: list[msgspec.Raw]


_instances: Final = msgspec.json.Decoder(_Instances)
_texts: Final = msgspec.json.Decoder(_Texts)
_WHOLE: Final = '{"instances":[%s]}'


def tensors_of(data: str, limits: Limits) -> tuple[Tensor, ...]:
    """Return the values of the one instance as checked tensors, numbers as FP64; raises BadRequest.

    A number is [1]; lists have the shape that they nest; a text is what ``text.tensor_of`` says. ``{"shape", "data",
    "indices"}`` is sparse, ``{"b64"}`` an image.
    """
    try:
        found = _instances.decode(data).instances
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"serde is 'stream', and the data no JSON with 'instances': {error}") from error
    if len(found) != 1:
        raise Undecodable(f"it has {len(found)} instances, expected one: send each in an entry of its own")
    [instance] = found
    if len(instance) > limits.max_tensors:
        raise TooManyTensors(len(instance), limits.max_tensors)
    tensors: list[Tensor] = []
    for name, value in instance.items():
        tensors.append(_tensor(name, value, sparse.room(tensors, limits)))
    return tuple(tensors)


def split(body: bytes) -> list[str]:
    """Return a text for each instance of a body, which has it alone; raises Undecodable for what is no such JSON.

    The values are not looked at: ``tensors_of`` does that.
    """
    try:
        found = [bytes(raw).decode() for raw in _texts.decode(body).instances]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"the body is no JSON with 'instances', a list of objects: {error}") from error
    if not found:
        raise Undecodable("'instances' is empty, expected one object at least")
    for place, instance in enumerate(found):
        if not instance.startswith("{"):
            raise Undecodable(f"instance {place} is no object of named values: {instance[:20]}")
    return [_WHOLE % instance for instance in found]


def _tensor(name: str, value: Any, room_bytes: int) -> Tensor:
    if isinstance(value, str):
        return text.tensor_of(name, value.encode())
    if isinstance(value, dict):
        return _of_object(name, value, room_bytes)
    kinds = set(map(type, _leaves(name, value)))
    if kinds == {str}:
        array = np.array(value, object)
    elif kinds <= {int, float}:
        try:
            array = np.array(value if isinstance(value, list) else [value], np.float64)
        except (ValueError, OverflowError) as error:
            raise Undecodable(f"value {name!r} is no tensor: {error}") from error
    else:
        raise Undecodable(f"value {name!r} is neither numbers nor text")
    if array.ndim and kinds == {str} and any(isinstance(item, list) for item in array.ravel()):
        raise Undecodable(f"value {name!r} is nested unevenly")
    tensor = from_array(name, array)
    tensor.check()
    return tensor


def _leaves(name: str, value: Any) -> Iterator[Any]:
    """Yield what is no list; raises Undecodable for lists in too many lists. Not recursive: depth is a stranger's."""
    level, axes = [value], 0
    while level:
        if axes > 32:
            raise Undecodable(f"value {name!r} has more than 32 axes")
        yield from (item for item in level if not isinstance(item, list))
        level, axes = [item for several in level if isinstance(several, list) for item in several], axes + 1


def _of_object(name: str, value: dict[str, Any], room_bytes: int) -> Tensor:
    image = value.get("b64")
    if isinstance(image, str) and len(value) == 1:
        try:
            return text.image_of(name, binascii.a2b_base64(image, strict_mode=True))
        except (binascii.Error, ValueError) as error:
            raise Undecodable(f"value {name!r} is not base64: {error}") from error
    try:
        it = msgspec.convert(value, _Sparse)
        indices = np.array(it.indices, np.int64)
    except (msgspec.ValidationError, ValueError, OverflowError) as error:
        reason = "expected {'shape', 'data', 'indices'} of a sparse tensor or {'b64'} of an image"
        raise Undecodable(f"value {name!r} is an object, {reason}: {error}") from error
    values = np.array(it.data, np.float64)
    array = sparse.dense(name, indices.ravel(), indices.shape, values, it.shape, room_bytes)
    return from_array(name, array)
