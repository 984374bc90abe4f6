"""Open Inference Protocol with binary tensors: JSON, and behind it the bytes of tensors that it leaves without data.

This is Triton's and KServe's binary tensor extension; how many bytes are JSON stands in a header. The tensors come in
the order of the JSON, each with as many bytes as its parameter ``binary_data_size`` says: little-endian, row-major,
each element of BYTES behind its length in four bytes, which is how a Tensor holds them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from pipeline.codecs.codec import Limits
from pipeline.codecs.v2_json import JsonRequest, JsonTensor, body_of, json_tensor, parse, request_of, tensor_of
from pipeline.errors import RecordTooLarge, TooManyTensors, Undecodable
from pipeline.records import PredictRequest, PredictResult
from pipeline.tensors import Tensor

_SIZE: Final = "binary_data_size"
_ALL_BINARY: Final = "binary_data_output"


class _Wanted(msgspec.Struct):
    """What a request says of one output; only its form is understood, every output is returned."""

    name: str
    parameters: dict[str, Any] = {}


class _TailedRequest(JsonRequest):
    outputs: tuple[_Wanted, ...] = ()


_requests: Final = msgspec.json.Decoder(_TailedRequest)


class TailedJson:
    """Reads one request whose first ``json_bytes`` bytes are JSON, and writes its result as that request wants it."""

    def __init__(self, json_bytes: int) -> None:
        self._json_bytes = json_bytes
        self._is_binary = False
        self._binary_by_name: dict[str, bool] = {}

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """See Codec. The tail must be used up: no byte of it is without a tensor."""
        if len(value) > limits.max_record_bytes:
            raise RecordTooLarge(len(value), limits.max_record_bytes)
        if not 0 < self._json_bytes <= len(value):
            raise Undecodable(f"its header says {self._json_bytes} bytes of JSON, the record has {len(value)} bytes")
        body = parse(_requests, value[: self._json_bytes])
        self._is_binary = body.parameters.pop(_ALL_BINARY, False) is True
        self._binary_by_name = {it.name: it.parameters["binary_data"] is True for it in body.outputs
                                if "binary_data" in it.parameters}  # fmt: skip
        if len(body.inputs) > limits.max_tensors:
            raise TooManyTensors(len(body.inputs), limits.max_tensors)
        return request_of(body, _tensors(body.inputs, memoryview(value)[self._json_bytes :]))

    def encode_result(self, result: PredictResult) -> tuple[bytes, int | None]:
        """Return the bytes of a result and how many of them are JSON; None where all are."""
        tail: list[bytes | memoryview] = []
        outputs = []
        for tensor in result.outputs:
            if self._binary_by_name.get(tensor.name, self._is_binary):
                size = {_SIZE: len(tensor.data)}
                outputs.append(JsonTensor(tensor.name, list(tensor.shape), tensor.datatype, parameters=size))
                tail.append(tensor.data)
            else:
                outputs.append(json_tensor(tensor))
        head = msgspec.json.encode(body_of(result, outputs))
        return (b"".join([head, *tail]), len(head)) if tail else (head, None)


def _tensors(items: Sequence[JsonTensor], tail: memoryview) -> tuple[Tensor, ...]:
    tensors: list[Tensor] = []
    start = 0
    for item in items:
        size = item.parameters.get(_SIZE)
        if size is None:
            tensors.append(tensor_of(item))
            continue
        if item.data is not msgspec.UNSET:
            raise Undecodable(f"tensor {item.name!r} has data in JSON and {_SIZE} too")
        if type(size) is not int or not 0 <= size <= len(tail) - start:
            raise Undecodable(f"tensor {item.name!r}: {_SIZE} is {size!r}, {len(tail) - start} bytes are left")
        tensor = Tensor(item.name, item.datatype, tuple(item.shape), bytes(tail[start : start + size]))
        tensor.check()
        tensors.append(tensor)
        start += size
    if start != len(tail):
        raise Undecodable(f"{len(tail) - start} bytes follow the last tensor")
    return tuple(tensors)
