"""The codec ``cluster-serving``."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from typing import Any

import numpy as np

from pipeline.codecs.cluster_serving import columns, entry, instances, results
from pipeline.codecs.cluster_serving.entry import Entry
from pipeline.codecs.codec import Limits
from pipeline.errors import NotRepresentable, RecordTooLarge, Undecodable, kinds
from pipeline.records import Error, PredictRequest, PredictResult
from pipeline.tensors import Tensor


class ClusterServingCodec:
    """See Codec. Their formats carry less than ours: numbers are FP32, a result has neither names nor an error.

    So ``decode_request(encode_request(r))`` equals ``r`` where its inputs are FP32 and it has no more than an id.
    """

    content_type = "cluster-serving"

    def recognises(self, value: bytes) -> bool:
        """See Codec: only a route that asks for it has this format; an object of JSON may be anything."""
        del value
        return False

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """See Codec."""
        if len(value) > limits.max_record_bytes:
            raise RecordTooLarge(len(value), limits.max_record_bytes)
        return self.request_of(entry.read(value), limits)

    def request_of(self, it: Entry, limits: Limits) -> PredictRequest:
        """Return the request of an entry that was read already; raises BadRequest."""
        return PredictRequest(str(it.uri), inputs=_tensors_of(it, limits))

    def encode_request(self, request: PredictRequest) -> bytes:
        """See Codec: of numbers; what else a request says is left out."""
        return entry.write(Entry(request.id, _arrow(request.inputs).decode()))

    def decode_result(self, value: bytes) -> PredictResult:
        """See Codec."""
        if value == results.FAILED:
            return PredictResult("", "", error=Error("internal", "the request failed; its result says no more", False))  # noqa: FBT003  # as in the schema
        return PredictResult("", "", outputs=results.read(value))

    def decode_result_of(self, value: bytes, headers: Mapping[str, bytes | None]) -> PredictResult:
        """Return the result with the error that its headers tell, for its value does not; raises Undecodable."""
        code = (headers.get(results.CODE) or b"").decode(errors="replace")
        if not code:
            return self.decode_result(value)
        reason = (headers.get(results.REASON) or b"").decode(errors="replace")
        kind = kinds().get(code)
        return PredictResult("", "", error=Error(code, reason, kind is not None and kind.retriable))

    def encode_result(self, result: PredictResult) -> bytes:
        """See Codec. What has no form there is ``NaN``, as an error is."""
        if result.error is not None:
            return results.FAILED
        try:
            return results.write([(tensor.name, tensor.array()) for tensor in result.outputs])
        except NotRepresentable:
            return results.FAILED


def _tensors_of(it: Entry, limits: Limits) -> tuple[Tensor, ...]:
    if it.serde == entry.STREAM:
        return instances.tensors_of(it.data, limits)
    if it.serde:
        raise Undecodable(f"serde is {it.serde!r}, expected 'stream' or none")
    try:
        data = binascii.a2b_base64(it.data, strict_mode=True)
    except ValueError as error:  # binascii.Error, or text that is not ASCII
        raise Undecodable(f"its data is not base64: {error}") from error
    return columns.tensors_of(data, limits)


def _numbers(tensor: Tensor) -> list[float]:
    if tensor.datatype == "BYTES":
        raise NotRepresentable(f"input {tensor.name!r} has text; only numbers have a form there")
    with np.errstate(over="ignore"):  # what FP32 does not hold is infinite
        elements: list[float] = tensor.array().astype(np.float32).ravel().tolist()
    return elements


def _arrow(tensors: tuple[Tensor, ...]) -> bytes:
    """Return tensors as their client writes them: one struct a tensor, over four rows, each with one of its lists."""
    import pyarrow as pa  # noqa: PLC0415  # an extra, which only routes of this format need

    def struct_of(tensor: Tensor) -> Any:
        parts: list[tuple[str, Any, list[Any]]] = [
            ("indiceData", pa.int32(), []),
            ("indiceShape", pa.int32(), []),
            ("data", pa.float32(), _numbers(tensor)),
            ("shape", pa.int32(), list(tensor.shape)),
        ]
        kind = pa.struct([(name, pa.list_(element)) for name, element, _ in parts])
        return pa.array([{name: elements} for name, _, elements in parts], kind)

    batch = pa.record_batch([struct_of(tensor) for tensor in tensors], [tensor.name for tensor in tensors])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return binascii.b2a_base64(sink.getvalue(), newline=False)
