"""The two records of the data path in Avro's binary encoding, written by hand, field by field in schema order.

Each has one fixed schema; docs/decisions/0004 has the measurement. What names the schema, before the record or beside
it, is the codec's business.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Final

from pipeline.records import Error, PredictRequest, PredictResult
from pipeline.tensors import DATATYPES, Tensor

_DATATYPE_BYTES: Final = {name: bytes([2 * index]) for index, name in enumerate(DATATYPES)}
_LONGEST_REMEMBERED: Final = 256


def write_request(prefix: bytes, request: PredictRequest) -> bytes:
    """Return a request behind a prefix."""
    parts: list[bytes | memoryview] = [
        prefix,
        _text(request.id),
        _text(request.servable),
        _optional_long(request.version),
        _optional_text(request.label),
        _text(request.signature),
        _optional_long(request.deadline_ms),
    ]
    _write_tensors(parts, request.inputs)
    if request.parameters:
        parts.append(_long(len(request.parameters)))
        for key, text in request.parameters.items():
            parts += (_text(key), _text(text))
    parts.append(b"\0")
    return b"".join(parts)


def write_result(prefix: bytes, result: PredictResult) -> bytes:
    """Return a result behind a prefix."""
    name, outputs, source = result.servable, result.outputs, result.source
    # In an error it is the request's word: one as long as a record must not be remembered.
    is_short = len(name) <= _LONGEST_REMEMBERED
    what: Sequence[bytes | memoryview]
    if len(outputs) == 1 and is_short:  # nearly all of them
        tensor = outputs[0]
        head = _name_to_data(name, result.version, tensor.name, tensor.datatype, tensor.shape, len(tensor.data))
        what = head, tensor.data, b"\0"
    else:
        servable = _name_and_version if is_short else _name_and_version.__wrapped__
        what = [servable(name, result.version)]
        _write_tensors(what, outputs)
    id_ = result.id.encode()
    return b"".join(
        (
            prefix,
            _long(len(id_)),
            id_,
            *what,
            b"\0" if result.error is None else _error(result.error),
            b"\0" if source is None else _topic_and_partition(source.topic, source.partition),
            b"" if source is None else _long(source.offset),
            _digest(result.digest),
            _long(result.queue_us),
            _long(result.compute_us),
        )
    )


# Writing: each function returns the encoding of one value (Avro specification, "Binary encoding").

_SMALL: Final = tuple(bytes([2 * n]) if n < 64 else bytes([(2 * n & 127) | 128, 2 * n >> 7]) for n in range(8192))
# The first two bytes of a larger one.
_LOW: Final = tuple(bytes([(2 * n & 127) | 128, 2 * n >> 7 | 128]) for n in range(8192))


def _long(value: int) -> bytes:
    if 0 <= value < 8192:
        return _SMALL[value]
    if value < 0:
        return _unsigned(2 * ~value + 1)
    return _LOW[value & 8191] + _rest(value >> 13)


def _unsigned(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append((value & 127) | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


# Offsets and times of a batch have it in common.
_rest: Final = functools.lru_cache(1024)(_unsigned)


def _text(value: str) -> bytes:
    data = value.encode()
    return _long(len(data)) + data


def _optional_long(value: int | None) -> bytes:
    return b"\0" if value is None else b"\2" + _long(value)


def _optional_text(value: str | None) -> bytes:
    return b"\0" if value is None else b"\2" + _text(value)


def _error(error: Error) -> bytes:
    return b"\2" + _text(error.code) + _text(error.message) + (b"\1" if error.retriable else b"\0")


# What the results of a batch have in common is encoded once: these are the same few values again and again.


@functools.lru_cache(1024)
def _name_and_version(servable: str, version: int | None) -> bytes:
    return _text(servable) + _optional_long(version)


@functools.lru_cache(1024)
def _name_to_data(
    servable: str, version: int | None, name: str, datatype: str, shape: tuple[int, ...], size_bytes: int
) -> bytes:
    """What stands between a result's id and the data of its only tensor."""
    return _name_and_version(servable, version) + _long(1) + _tensor_head(name, datatype, shape, size_bytes)


@functools.lru_cache(1024)
def _topic_and_partition(topic: str, partition: int) -> bytes:
    return b"\2" + _text(topic) + _long(partition)


@functools.lru_cache(1024)
def _digest(digest: str | None) -> bytes:
    return _optional_text(digest)


@functools.lru_cache(1024)
def _tensor_head(name: str, datatype: str, shape: tuple[int, ...], size_bytes: int) -> bytes:
    axes = _long(len(shape)) + b"".join(map(_long, shape)) if shape else b""
    return _text(name) + _DATATYPE_BYTES[datatype] + axes + b"\0" + _long(size_bytes)


def _write_tensors(parts: list[bytes | memoryview], tensors: tuple[Tensor, ...]) -> None:
    if tensors:
        parts.append(_long(len(tensors)))
        for tensor in tensors:
            parts += (_tensor_head(tensor.name, tensor.datatype, tensor.shape, len(tensor.data)), tensor.data)
    parts.append(b"\0")
