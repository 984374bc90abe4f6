"""The two records of the data path in Avro's binary encoding, read by hand, field by field in schema order.

Each has one fixed schema; docs/decisions/0004 has the measurement. A record begins at a position of its bytes: what
names its schema, before it or beside it, is the codec's business.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import msgspec
from msgspec import structs

from pipeline.codecs.codec import Limits
from pipeline.errors import TooManyTensors, Undecodable
from pipeline.records import Error, PredictRequest, PredictResult, Source
from pipeline.tensors import DATATYPES, Tensor

# From here on the data of a tensor is a view of its record, which is held anyway; below, a copy costs less.
_VIEW_FROM_BYTES: Final = 16 * 1024
# How many servables have their layout remembered, and how long it may be.
_MOST_REMEMBERED: Final = 4096
_LONGEST_REMEMBERED: Final = 1024
_LONGEST_ID: Final = 63  # whose length is one byte
_NO_PARAMETERS: Final = b"\0\0"  # the end of the inputs, and no parameters
_NO_LIMITS: Final = Limits(max_record_bytes=2**63 - 1, max_tensors=2**31)
# What reading past the end, bad UTF-8 (a ValueError) and the checks below raise.
_MALFORMED: Final = (IndexError, ValueError)
_ReadData = Callable[[bytes, int], tuple[bytes | memoryview, int]]


class RequestReader:
    """Reads requests that begin at position ``at`` of their record. Any thread may call it, several at once."""

    def __init__(self, at: int) -> None:
        self._at = at
        # Of the last request, and of the last one to each servable; each is swapped whole, so any thread may.
        self._layout: _Layout | None = None
        self._layouts: dict[bytes, _Layout] = {}

    def read(self, value: bytes, limits: Limits) -> PredictRequest:
        """Return the request, every tensor checked; raises Undecodable or TooManyTensors."""
        layout = self._layout
        if layout is not None:
            request = layout.read(value)
            if request is not None:
                return request
            layout = self._layouts.get(_servable_in(value, self._at))
            if layout is not None:
                request = layout.read(value)
                if request is not None:
                    self._layout = layout
                    return request
        try:
            request = _read_request(value, self._at, limits)
        except _MALFORMED as error:
            raise Undecodable(f"not a PredictRequest: {error}") from error
        layout = _Layout.of(value, self._at, request)
        if layout is not None:
            self._layout = layout
            if len(layout.middle) <= _LONGEST_REMEMBERED:
                if len(self._layouts) >= _MOST_REMEMBERED:  # whoever is asked still is there again soon
                    self._layouts.clear()
                self._layouts[_servable_in(value, self._at)] = layout
        return request


def read_result(value: bytes, at: int) -> PredictResult:
    """Return the result that begins at ``at``; raises Undecodable."""
    try:
        return _read_result(value, at)
    except _MALFORMED as error:
        raise Undecodable(f"not a PredictResult: {error}") from error


class _Layout(msgspec.Struct, frozen=True):
    """The bytes of one request around its id and its data.

    Requests come in rows that differ in nothing else. Such a record is read by comparing bytes: ``middle`` holds every
    field from the id to the length of the data, shape included, so what held for the first request holds for it.
    """

    at: int
    middle: bytes
    others_bytes: int  # of all but the id
    request: PredictRequest
    tensor: Tensor

    @classmethod
    def of(cls, value: bytes, at: int, request: PredictRequest) -> _Layout | None:
        """Return the layout of a request with one tensor of numbers, no parameters and a short id; else None."""
        start = at + 1 + (value[at] >> 1)
        if value[at] > 127 or len(request.inputs) != 1 or not value.endswith(_NO_PARAMETERS):
            return None
        [tensor] = request.inputs
        end = len(value) - len(_NO_PARAMETERS) - len(tensor.data)
        if request.parameters or tensor.datatype == "BYTES" or not tensor.data or value[end:-2] != tensor.data:
            return None
        # Without their data, which may be a view of the whole record: layouts are kept.
        request, tensor = structs.replace(request, inputs=()), structs.replace(tensor, data=b"")
        return cls(at, value[start:end], len(value) - (value[at] >> 1), request, tensor)

    def read(self, value: bytes) -> PredictRequest | None:
        """Return the request that these bytes are, or None where they are of another layout."""
        at, middle, size = self.at, self.middle, len(value) - self.others_bytes
        if not 0 <= size <= _LONGEST_ID or value[at] != 2 * size:
            return None
        start = at + 1 + size
        if not value.startswith(middle, start) or not value.endswith(_NO_PARAMETERS):
            return None
        try:
            id_ = value[at + 1 : start].decode()
        except UnicodeDecodeError:
            return None
        like, tensor = self.request, self.tensor
        data = _cut(value, start + len(middle), len(value) - len(_NO_PARAMETERS))
        inputs = (Tensor(tensor.name, tensor.datatype, tensor.shape, data),)
        return PredictRequest(
            id_, like.servable, like.version, like.label, like.signature, like.deadline_ms, inputs, like.parameters
        )


def _servable_in(value: bytes, at: int) -> bytes:
    """Return the bytes behind a short id that name the servable, its length before it; any others where it is long."""
    try:
        start = at + 1 + (value[at] >> 1)
        return value[start : start + 1 + (value[start] >> 1)]
    except IndexError:
        return b""


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
