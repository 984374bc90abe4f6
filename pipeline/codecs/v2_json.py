"""Open Inference Protocol (version 2) JSON, as KServe, Triton and MLServer write it.

A request may name its model in the body (``model_name``, ``model_version``) or in headers, which the dispatcher reads.
``data`` may be flat or nested. BYTES are JSON strings; an output that is not UTF-8 is base64 and says so in its
``parameters`` (``content_type: base64``, MLServer's convention), and an input may do the same. JSON has no NaN: it is
written as null, and null is read as NaN in FP tensors. An error result has the protocol's ``error`` text, with
``error_code`` and ``retriable`` among its parameters.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import math
import struct
from collections.abc import Sequence
from typing import Any, Final, TypeVar

import msgspec
import numpy as np

from pipeline.codecs.codec import Limits
from pipeline.errors import RecordTooLarge, TooManyTensors, Undecodable
from pipeline.records import Error, PredictRequest, PredictResult, Source
from pipeline.tensors import DTYPES, Array, Tensor, check_shape, from_array

_T = TypeVar("_T")


class JsonTensor(msgspec.Struct, omit_defaults=True):
    """A tensor as JSON has it; ``data`` is unset where the bytes follow the JSON (see v2_binary)."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | msgspec.UnsetType = msgspec.UNSET
    parameters: dict[str, Any] = {}


class JsonRequest(msgspec.Struct, omit_defaults=True):
    """A request as JSON has it."""

    inputs: Sequence[JsonTensor]
    id: str = ""
    model_name: str = ""
    model_version: str = ""
    parameters: dict[str, Any] = {}


class _FlatTensor(JsonTensor, gc=False):
    """A tensor whose data are flat numbers: what most requests have, and what is read soonest."""

    data: list[float] | msgspec.UnsetType = msgspec.UNSET


class _FlatRequest(JsonRequest, gc=False):
    """A request of such tensors."""

    inputs: Sequence[_FlatTensor]


class JsonResult(msgspec.Struct, omit_defaults=True):
    """A result as JSON has it."""

    model_name: str
    id: str = ""
    model_version: str = ""
    outputs: Sequence[JsonTensor] = []
    error: str | None = None
    parameters: dict[str, Any] = {}


class _FlatResult(JsonResult, gc=False):
    """A result of such tensors."""

    outputs: Sequence[_FlatTensor] = []


# Parameters of a request that have a meaning of their own; the others go to the servable as text.
_LABEL: Final = "label"
_SIGNATURE: Final = "signature"
_DEADLINE: Final = "deadline_ms"
_LAST_VERSION: Final = 2**63 - 1

_NUMBERS: Final = frozenset({float, int})
_FORMS: Final = {"FP32": "f", "FP64": "d"}

_requests: Final = msgspec.json.Decoder(JsonRequest)
_flat_requests: Final = msgspec.json.Decoder(_FlatRequest)
_results: Final = msgspec.json.Decoder(JsonResult)
_flat_results: Final = msgspec.json.Decoder(_FlatResult)
_encoder: Final = msgspec.json.Encoder()


class V2JsonCodec:
    """See Codec."""

    content_type = "application/json"

    def recognises(self, value: bytes) -> bool:
        """See Codec: a JSON object."""
        return value.lstrip(b" \t\r\n")[:1] == b"{"

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """See Codec."""
        if len(value) > limits.max_record_bytes:
            raise RecordTooLarge(len(value), limits.max_record_bytes)
        flat = _parse_flat(_flat_requests, value)
        if flat is not None and len(flat.inputs) <= limits.max_tensors:
            inputs = _flat_tensors(flat.inputs)
            if inputs is not None:
                return request_of(flat, inputs)
        body = parse(_requests, value)
        if len(body.inputs) > limits.max_tensors:
            raise TooManyTensors(len(body.inputs), limits.max_tensors)
        return request_of(body, tuple(map(tensor_of, body.inputs)))

    def encode_request(self, request: PredictRequest) -> bytes:
        """See Codec."""
        parameters: dict[str, Any] = dict(request.parameters)
        named = ((_LABEL, request.label), (_SIGNATURE, request.signature or None), (_DEADLINE, request.deadline_ms))
        parameters |= {key: item for key, item in named if item is not None}
        return _encoder.encode(
            JsonRequest(
                inputs=list(map(json_tensor, request.inputs)),
                id=request.id,
                model_name=request.servable,
                model_version="" if request.version is None else str(request.version),
                parameters=parameters,
            )
        )

    def decode_result(self, value: bytes) -> PredictResult:
        """See Codec."""
        flat = _parse_flat(_flat_results, value)
        outputs = None if flat is None else _flat_tensors(flat.outputs)
        if flat is None or outputs is None:
            body = parse(_results, value)
            outputs = tuple(map(tensor_of, body.outputs))
        else:
            body = flat
        parameters = body.parameters
        error = source = None
        if body.error is not None:
            code, retriable = parameters.get("error_code", "internal"), parameters.get("retriable", False)
            error = Error(str(code), body.error, bool(retriable))
        if "source_topic" in parameters:
            try:
                source = msgspec.convert(
                    {key: parameters.get(f"source_{key}") for key in ("topic", "partition", "offset")}, Source
                )
                times = {key: msgspec.convert(parameters.get(key, 0), int) for key in ("queue_us", "compute_us")}
            except msgspec.ValidationError as problem:
                raise Undecodable(f"not a V2 JSON result: {problem}") from problem
        else:
            times = {}
        digest = parameters.get("digest")
        return PredictResult(
            id=body.id,
            servable=body.model_name,
            version=_version(body.model_version),
            outputs=outputs,
            error=error,
            source=source,
            digest=None if digest is None else str(digest),
            **times,
        )

    def encode_result(self, result: PredictResult) -> bytes:
        """See Codec."""
        return _encoder.encode(body_of(result, list(map(json_tensor, result.outputs))))


def _parse_flat(decoder: msgspec.json.Decoder[_T], value: bytes) -> _T | None:
    """Return what a decoder for floating-point numbers alone makes of JSON; None for whatever wants a closer look."""
    data = value.find(b'"data"')
    if value.find(b'"FP', 0, data) < 0 or b"[[" in value[data : data + 16]:  # it would only find out the hard way
        return None
    try:
        return decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _flat_tensors(items: Sequence[_FlatTensor]) -> tuple[Tensor, ...] | None:
    """Return tensors of ordinary floating-point numbers, checked; None where one wants a closer look."""
    tensors: list[Tensor] = []
    for item in items:
        form, data, shape = _FORMS.get(item.datatype), item.data, item.shape
        if form is None or not data:
            return None
        check_shape(item.name, shape)
        if math.prod(shape) != len(data):
            return None
        packed = _packed(data, form)
        if packed is None:
            return None
        tensors.append(Tensor(item.name, item.datatype, tuple(shape), packed))
    return tuple(tensors)


def request_of(body: JsonRequest, inputs: tuple[Tensor, ...]) -> PredictRequest:
    """Return the request that a body is, with its tensors read already; raises Undecodable."""
    if not body.parameters:
        return PredictRequest(body.id, body.model_name, _version(body.model_version), inputs=inputs)
    parameters = dict(body.parameters)
    label, signature, deadline = (parameters.pop(key, None) for key in (_LABEL, _SIGNATURE, _DEADLINE))
    if deadline is not None and not isinstance(deadline, int):
        raise Undecodable(f"parameter {_DEADLINE} is {deadline!r}, expected milliseconds since the Unix epoch")
    return PredictRequest(
        id=body.id,
        servable=body.model_name,
        version=_version(body.model_version),
        label=None if label is None else str(label),
        signature=str(signature or ""),
        deadline_ms=deadline,
        inputs=inputs,
        parameters={key: _as_text(item) for key, item in parameters.items()},
    )


def body_of(result: PredictResult, outputs: list[JsonTensor]) -> JsonResult:
    """Return the body that a result is, with its tensors written already."""
    parameters: dict[str, Any] = {}
    if result.error is not None:
        parameters |= {"error_code": result.error.code, "retriable": result.error.retriable}
    if result.source is not None:
        source = result.source
        parameters |= {
            "source_topic": source.topic,
            "source_partition": source.partition,
            "source_offset": source.offset,
            "queue_us": result.queue_us,
            "compute_us": result.compute_us,
        }
    if result.digest is not None:
        parameters["digest"] = result.digest
    return JsonResult(
        model_name=result.servable,
        id=result.id,
        model_version="" if result.version is None else str(result.version),
        outputs=outputs,
        error=None if result.error is None else result.error.message,
        parameters=parameters,
    )


def parse(decoder: msgspec.json.Decoder[_T], value: bytes) -> _T:
    """Return what a decoder makes of JSON; raises Undecodable."""
    try:
        return decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"not V2 JSON: {error}") from error


def _version(text: str) -> int | None:
    if not text:
        return None
    if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= _LAST_VERSION:
        return int(text)
    raise Undecodable(f"model_version {text!r} is not a number; name a label in parameters.label")


def _as_text(value: object) -> str:
    return value if isinstance(value, str) else _encoder.encode(value).decode()


def _flat(data: list[Any]) -> list[Any]:
    while data and isinstance(data[0], list):
        if not all(isinstance(item, list) for item in data):
            raise Undecodable("data is nested unevenly")
        data = list(itertools.chain.from_iterable(data))
    return data


def tensor_of(item: JsonTensor) -> Tensor:
    """Return a tensor that JSON has, checked; raises Undecodable."""
    dtype = DTYPES.get(item.datatype)
    if dtype is None:
        raise Undecodable(f"tensor {item.name!r} has datatype {item.datatype!r}, expected one of {', '.join(DTYPES)}")
    if item.data is msgspec.UNSET:
        raise Undecodable(f"tensor {item.name!r} has no data")
    data = _flat(item.data)
    check_shape(item.name, item.shape)
    if math.prod(item.shape) != len(data):
        raise Undecodable(f"tensor {item.name!r} of shape {item.shape} has {len(data)} elements")
    form = _FORMS.get(item.datatype)
    packed: bytes | memoryview | None = None
    if form is not None and _NUMBERS.issuperset(map(type, data)):
        packed = _packed(data, form)
    if packed is None:
        try:
            packed = from_array(item.name, _array(data, item)).data
        except (ValueError, TypeError, OverflowError, binascii.Error) as error:
            raise Undecodable(f"tensor {item.name!r} of {item.datatype}: {error}") from error
    tensor = Tensor(item.name, item.datatype, tuple(item.shape), packed)
    tensor.check()
    return tensor


def _packed(data: list[Any], form: str) -> bytes | None:
    """Return the bytes of numbers, sooner than numpy makes them; None where one is too large: it has a say in that."""
    try:
        return struct.pack(f"<{len(data)}{form}", *data)
    except (OverflowError, struct.error):
        return None


def _array(data: list[Any], item: JsonTensor) -> Array:
    dtype = DTYPES[item.datatype]
    if item.datatype == "BYTES":
        _types(data, {str}, "a string")
        encoded = item.parameters.get("content_type") == "base64"
        array = np.empty(len(data), object)
        array[:] = [base64.b64decode(element, validate=True) if encoded else element.encode() for element in data]
        return array
    if dtype.kind == "f":
        if type(None) in _types(data, {float, int, type(None)}, "a number"):
            data = [math.nan if element is None else element for element in data]
        return np.array(data, np.float64).astype(dtype)
    if dtype.kind == "b":
        _types(data, {bool}, "true or false")
    else:
        _types(data, {int}, "an integer")
    return np.array(data, dtype)


def _types(data: list[Any], allowed: set[type], what: str) -> set[type]:
    """Return the types of the elements; raises TypeError for one that is not allowed. ``True`` is no integer here."""
    types = set(map(type, data))
    if not types <= allowed:
        element = next(element for element in data if type(element) not in allowed)
        raise TypeError(f"element {element!r} is not {what}")
    return types


def json_tensor(tensor: Tensor) -> JsonTensor:
    """Return a tensor as JSON has it."""
    shape, form = list(tensor.shape), _FORMS.get(tensor.datatype)
    if form is not None:
        numbers = list(struct.unpack(f"<{math.prod(shape)}{form}", tensor.data))
        return JsonTensor(tensor.name, shape, tensor.datatype, numbers)
    array = tensor.array().ravel()
    if tensor.datatype != "BYTES":
        return JsonTensor(tensor.name, shape, tensor.datatype, array.tolist())
    try:
        return JsonTensor(tensor.name, shape, tensor.datatype, [element.decode() for element in array])
    except UnicodeDecodeError:
        encoded = [base64.b64encode(element).decode() for element in array]
        return JsonTensor(tensor.name, shape, tensor.datatype, encoded, {"content_type": "base64"})
