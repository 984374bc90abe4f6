"""Avro in single-object framing: the default format, and the hot path.

``PredictRequest`` and ``PredictResult`` have one fixed schema each, so they are read and written here by hand, field by
field in schema order; docs/decisions/0004 has the measurement. A record of another (older or newer) writer schema goes
through Apache Avro's resolution. Tests compare this module with Apache Avro in both directions on generated records.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Final

import avro.schema
import msgspec

from pipeline.codecs import schemas
from pipeline.codecs.codec import Limits
from pipeline.errors import RecordTooLarge, TooManyTensors, Undecodable
from pipeline.records import Error, PredictRequest, PredictResult, Source
from pipeline.tensors import DATATYPES, Tensor

_DATATYPE_BYTES: Final = {name: bytes([2 * index]) for index, name in enumerate(DATATYPES)}
_ID_AT: Final = schemas.PREFIX_BYTES
# From here on the data of a tensor is a view of its record, which is held anyway; below, a copy costs less.
_VIEW_FROM_BYTES: Final = 16 * 1024
_LONGEST_REMEMBERED: Final = 256
_NO_PARAMETERS: Final = b"\0\0"  # the end of the inputs, and no parameters
_NO_LIMITS: Final = Limits(max_record_bytes=2**63 - 1, max_tensors=2**31)
# What reading past the end, bad UTF-8 (a ValueError) and the checks below raise.
_MALFORMED: Final = (IndexError, ValueError)
_ReadData = Callable[[bytes, int], tuple[bytes | memoryview, int]]


class AvroCodec:
    """See Codec. ``writers`` are schemas of other versions of the two records that shall be understood too."""

    content_type = "application/avro"

    def __init__(self, writers: tuple[avro.schema.Schema, ...] = ()) -> None:
        self._request_prefix = schemas.prefix("PredictRequest")
        self._result_prefix = schemas.prefix("PredictResult")
        self._writers = {schemas.prefix_of(writer): writer for writer in writers}
        self._layout: _Layout | None = (
            None  # of the last request that was read in full; swapped whole, so any thread may
        )

    def recognises(self, value: bytes) -> bool:
        """See Codec: the magic of single-object encoding."""
        return value[:2] == schemas.MAGIC

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """See Codec."""
        if len(value) > limits.max_record_bytes:
            raise RecordTooLarge(len(value), limits.max_record_bytes)
        if not value.startswith(self._request_prefix):
            return _request_of(schemas.decode("PredictRequest", value, self._writers), limits)
        layout = self._layout
        if layout is not None:
            request = layout.read(value)
            if request is not None:
                return request
        try:
            request = _read_request(value, schemas.PREFIX_BYTES, limits)
        except _MALFORMED as error:
            raise Undecodable(f"not a PredictRequest: {error}") from error
        self._layout = _Layout.of(value, request) or layout
        return request

    def encode_request(self, request: PredictRequest) -> bytes:
        """See Codec."""
        parts: list[bytes | memoryview] = [
            self._request_prefix,
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

    def decode_result(self, value: bytes) -> PredictResult:
        """See Codec."""
        if not value.startswith(self._result_prefix):
            return _result_of(schemas.decode("PredictResult", value, self._writers))
        try:
            return _read_result(value, schemas.PREFIX_BYTES)
        except _MALFORMED as error:
            raise Undecodable(f"not a PredictResult: {error}") from error

    def encode_result(self, result: PredictResult) -> bytes:
        """See Codec."""
        name = result.servable
        # In an error it is the request's word: one as long as a record must not be remembered.
        servable = _name_and_version if len(name) <= _LONGEST_REMEMBERED else _name_and_version.__wrapped__
        parts: list[bytes | memoryview] = [self._result_prefix, _text(result.id), servable(name, result.version)]
        _write_tensors(parts, result.outputs)
        error, source = result.error, result.source
        if error is None:
            parts.append(b"\0")
        else:
            parts += (b"\2", _text(error.code), _text(error.message), b"\1" if error.retriable else b"\0")
        if source is None:
            parts.append(b"\0")
        else:
            parts += (_topic_and_partition(source.topic, source.partition), _long(source.offset))
        parts += (_digest(result.digest), _long(result.queue_us), _long(result.compute_us))
        return b"".join(parts)


# Writing: each function returns the encoding of one value (Avro specification, "Binary encoding").

_SMALL: Final = tuple(bytes([2 * n]) if n < 64 else bytes([(2 * n & 127) | 128, 2 * n >> 7]) for n in range(8192))


def _long(value: int) -> bytes:
    if 0 <= value < 8192:
        return _SMALL[value]
    rest = (value << 1) ^ (value >> 63)
    if rest < 2097152:
        return bytes((rest & 127 | 128, rest >> 7 & 127 | 128, rest >> 14))
    out = bytearray()
    while rest > 127:
        out.append((rest & 127) | 128)
        rest >>= 7
    out.append(rest)
    return bytes(out)


def _text(value: str) -> bytes:
    data = value.encode()
    return _long(len(data)) + data


def _optional_long(value: int | None) -> bytes:
    return b"\0" if value is None else b"\2" + _long(value)


def _optional_text(value: str | None) -> bytes:
    return b"\0" if value is None else b"\2" + _text(value)


# What the results of a batch have in common is encoded once: these are the same few values again and again.


@functools.lru_cache(1024)
def _name_and_version(servable: str, version: int | None) -> bytes:
    return _text(servable) + _optional_long(version)


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


class _Layout(msgspec.Struct, frozen=True):
    """The bytes of one request around its id and its data.

    Requests come in rows that differ in nothing else. Such a record is read by comparing bytes: ``middle`` holds every
    field from the id to the length of the data, shape included, so what held for the first request holds for it.
    """

    middle: bytes
    size_bytes: int
    request: PredictRequest
    tensor: Tensor

    @classmethod
    def of(cls, value: bytes, request: PredictRequest) -> _Layout | None:
        """Return the layout of a request with one tensor of numbers, no parameters and a short id; else None."""
        start = _ID_AT + 1 + (value[_ID_AT] >> 1)
        if value[_ID_AT] > 127 or len(request.inputs) != 1 or not value.endswith(_NO_PARAMETERS):
            return None
        [tensor] = request.inputs
        end = len(value) - len(_NO_PARAMETERS) - len(tensor.data)
        if request.parameters or tensor.datatype == "BYTES" or not tensor.data or value[end:-2] != tensor.data:
            return None
        return cls(value[start:end], len(tensor.data), request, tensor)

    def read(self, value: bytes) -> PredictRequest | None:
        """Return the request that these bytes are, or None where they are of another layout."""
        size = value[_ID_AT] if len(value) > _ID_AT else 128
        start = _ID_AT + 1 + (size >> 1)
        data = start + len(self.middle)
        end = data + self.size_bytes
        if size > 127 or size & 1 or end + 2 != len(value) or not value.startswith(self.middle, start):
            return None
        if not value.endswith(_NO_PARAMETERS):
            return None
        try:
            id_ = value[_ID_AT + 1 : start].decode()
        except UnicodeDecodeError:
            return None
        like, tensor = self.request, self.tensor
        inputs = (Tensor(tensor.name, tensor.datatype, tensor.shape, _cut(value, data, end)),)
        return PredictRequest(
            id_, like.servable, like.version, like.label, like.signature, like.deadline_ms, inputs, like.parameters
        )


# Reading: each function takes the position of a value and returns the value and the position after it.


_MOST_BITS: Final = 2**64 - 1


def _read_long(buffer: bytes, at: int) -> tuple[int, int]:
    value = buffer[at]
    at += 1
    if value < 128:
        return (value >> 1) ^ -(value & 1), at
    value &= 127
    shift = 7
    while True:
        byte = buffer[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
        if shift > 63:
            raise ValueError("a number has more than 64 bits")
    if value > _MOST_BITS:
        raise ValueError("a number has more than 64 bits")
    return (value >> 1) ^ -(value & 1), at


def _cut(buffer: bytes, at: int, end: int) -> bytes | memoryview:
    return buffer[at:end] if end - at < _VIEW_FROM_BYTES else memoryview(buffer)[at:end]


def _read_size(buffer: bytes, at: int) -> tuple[int, int]:
    """Return where a value with a length begins and ends."""
    size, at = _read_long(buffer, at)
    end = at + size
    if size < 0 or end > len(buffer):
        raise ValueError(f"a length of {size} bytes at byte {at}, the record ends at byte {len(buffer)}")
    return at, end


def _read_bytes(buffer: bytes, at: int) -> tuple[bytes, int]:
    at, end = _read_size(buffer, at)
    return buffer[at:end], end


def _read_view(buffer: bytes, at: int) -> tuple[bytes | memoryview, int]:
    at, end = _read_size(buffer, at)
    return _cut(buffer, at, end), end


def _read_text(buffer: bytes, at: int) -> tuple[str, int]:
    data, at = _read_bytes(buffer, at)
    return data.decode(), at


def _read_branch(buffer: bytes, at: int) -> tuple[int, int]:
    branch = buffer[at]
    if branch not in (0, 2):
        raise ValueError(f"union branch {branch} at byte {at}")
    return branch, at + 1


def _read_optional_long(buffer: bytes, at: int) -> tuple[int | None, int]:
    branch, at = _read_branch(buffer, at)
    return _read_long(buffer, at) if branch else (None, at)


def _read_optional_text(buffer: bytes, at: int) -> tuple[str | None, int]:
    branch, at = _read_branch(buffer, at)
    return _read_text(buffer, at) if branch else (None, at)


def _read_count(buffer: bytes, at: int) -> tuple[int, int]:
    count, at = _read_long(buffer, at)
    if count < 0:  # a block that also tells its size in bytes
        _, at = _read_long(buffer, at)
        count = -count
    if count > len(buffer) - at:  # each item takes a byte at least
        raise ValueError(f"a block of {count} items at byte {at}, the record ends at byte {len(buffer)}")
    return count, at


def _read_tensors(buffer: bytes, at: int, limit: int, read_data: _ReadData) -> tuple[tuple[Tensor, ...], int]:
    tensors: list[Tensor] = []
    while True:
        count, at = _read_count(buffer, at)
        if not count:
            return tuple(tensors), at
        if len(tensors) + count > limit:
            raise TooManyTensors(len(tensors) + count, limit)
        for _ in range(count):
            name, at = _read_text(buffer, at)
            datatype, at = _read_long(buffer, at)
            if not 0 <= datatype < len(DATATYPES):
                raise ValueError(f"datatype {datatype} of tensor {name!r}")
            shape: list[int] = []
            while True:
                axes, at = _read_count(buffer, at)
                if not axes:
                    break
                for _ in range(axes):
                    axis, at = _read_long(buffer, at)
                    shape.append(axis)
            data, at = read_data(buffer, at)
            tensor = Tensor(name, DATATYPES[datatype], tuple(shape), data)
            tensor.check()
            tensors.append(tensor)


def _read_request(buffer: bytes, at: int, limits: Limits) -> PredictRequest:
    id_, at = _read_text(buffer, at)
    servable, at = _read_text(buffer, at)
    version, at = _read_optional_long(buffer, at)
    label, at = _read_optional_text(buffer, at)
    signature, at = _read_text(buffer, at)
    deadline_ms, at = _read_optional_long(buffer, at)
    inputs, at = _read_tensors(buffer, at, limits.max_tensors, _read_view)
    parameters: dict[str, str] = {}
    while True:
        count, at = _read_count(buffer, at)
        if not count:
            break
        for _ in range(count):
            key, at = _read_text(buffer, at)
            parameters[key], at = _read_text(buffer, at)
    _check_end(buffer, at)
    return PredictRequest(id_, servable, version, label, signature, deadline_ms, inputs, parameters)


def _read_result(buffer: bytes, at: int) -> PredictResult:
    id_, at = _read_text(buffer, at)
    servable, at = _read_text(buffer, at)
    version, at = _read_optional_long(buffer, at)
    outputs, at = _read_tensors(buffer, at, _NO_LIMITS.max_tensors, _read_bytes)
    error = source = None
    branch, at = _read_branch(buffer, at)
    if branch:
        code, at = _read_text(buffer, at)
        message, at = _read_text(buffer, at)
        error = Error(code, message, buffer[at] == 1)
        at += 1
    branch, at = _read_branch(buffer, at)
    if branch:
        topic, at = _read_text(buffer, at)
        partition, at = _read_long(buffer, at)
        offset, at = _read_long(buffer, at)
        source = Source(topic, partition, offset)
    digest, at = _read_optional_text(buffer, at)
    queue_us, at = _read_long(buffer, at)
    compute_us, at = _read_long(buffer, at)
    _check_end(buffer, at)
    return PredictResult(id_, servable, version, outputs, error, source, digest, queue_us, compute_us)


def _check_end(buffer: bytes, at: int) -> None:
    if at != len(buffer):
        raise ValueError(f"{len(buffer) - at} bytes follow the record")


# Other writer schemas: the dicts that Apache Avro returns.


def tensors_of(items: list[Mapping[str, Any]]) -> tuple[Tensor, ...]:
    """Return the tensors of an array that Apache Avro has read, each checked; raises Undecodable."""
    tensors = tuple(Tensor(i["name"], i["datatype"], tuple(i["shape"]), i["data"]) for i in items)
    for tensor in tensors:
        tensor.check()
    return tensors


def _request_of(datum: dict[str, Any], limits: Limits) -> PredictRequest:
    if len(datum["inputs"]) > limits.max_tensors:
        raise TooManyTensors(len(datum["inputs"]), limits.max_tensors)
    return PredictRequest(**{**datum, "inputs": tensors_of(datum["inputs"])})


def _result_of(datum: dict[str, Any]) -> PredictResult:
    error, source = datum["error"], datum["source"]
    return PredictResult(
        **{
            **datum,
            "outputs": tensors_of(datum["outputs"]),
            "error": error and Error(**error),
            "source": source and Source(**source),
        }
    )
