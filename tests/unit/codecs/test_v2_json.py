"""Open Inference Protocol JSON: round trips, the protocol's own forms, and strictness."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from pipeline.codecs.codec import Limits
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.errors import Undecodable
from pipeline.records import Error, PredictRequest, PredictResult, Source
from pipeline.tensors import DTYPES, from_array
from pipeline.testing.strategies import tensors

CODEC, LIMITS = V2JsonCodec(), Limits()


def decode(**body: Any) -> PredictRequest:
    return CODEC.decode_request(json.dumps(body).encode(), LIMITS)


def x(data: Any, datatype: str = "FP32", shape: list[int] | None = None, **more: Any) -> dict[str, Any]:
    return {"name": "x", "shape": shape or [len(data)], "datatype": datatype, "data": data, **more}


@given(st.lists(tensors(), max_size=3).map(tuple), st.none() | st.integers(0, 2**63 - 1))
def test_requests_and_results_come_back_equal(inputs: Any, version: int | None) -> None:
    request = PredictRequest("a", "m", version, "stable", "s", 12, inputs, {"k": "v"})
    assert CODEC.decode_request(CODEC.encode_request(request), LIMITS) == request
    result = PredictResult("a", "m", version, inputs, None, Source("t", 1, 2), "sha256:0", 3, 4)
    assert CODEC.decode_result(CODEC.encode_result(result)) == result


def test_an_error_result_has_the_protocols_error_text_and_our_code() -> None:
    result = PredictResult("a", "m", error=Error("model_error", "it raised", retriable=False))
    body = json.loads(CODEC.encode_result(result))
    assert body["error"] == "it raised"
    assert body["parameters"]["error_code"] == "model_error"
    assert CODEC.decode_result(CODEC.encode_result(result)) == result


def test_nested_data_is_the_same_as_flat_data() -> None:
    flat = decode(inputs=[x([1, 2, 3, 4], shape=[2, 2])])
    assert decode(inputs=[x([[1, 2], [3, 4]], shape=[2, 2])]) == flat
    assert flat.inputs[0].array().tolist() == [[1, 2], [3, 4]]


NUMBERS = st.integers(-(10**300), 10**300) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(NUMBERS | st.none()), st.sampled_from(["FP16", "FP32", "FP64"]))
def test_numbers_become_what_numpy_makes_of_them(data: list[Any], datatype: str) -> None:
    """Also those that are too large for the datatype: infinity."""
    with np.errstate(over="ignore"):
        expected = np.array([math.nan if one is None else one for one in data], np.float64).astype(DTYPES[datatype])
        (tensor,) = decode(inputs=[x(data, datatype, shape=[len(data)])]).inputs
    assert np.array_equal(tensor.array(), expected, equal_nan=True)


def test_a_truth_value_is_no_number_though_it_stands_among_some() -> None:
    with pytest.raises(Undecodable, match="True is not a number"):
        decode(inputs=[x([1.0, True])])


@pytest.mark.parametrize("data", [[0.5, 2], [[0.5], [2]]])
@pytest.mark.parametrize("beside", [x([2**53 + 1], "INT64"), x([True], "BOOL"), x(["FP32"], "BYTES")])
def test_a_tensor_has_its_numbers_whatever_stands_beside_it(data: Any, beside: dict[str, Any]) -> None:
    first, second = decode(inputs=[x(data, shape=[2]), beside]).inputs
    assert first == decode(inputs=[x([0.5, 2.0])]).inputs[0]
    assert second == decode(inputs=[beside]).inputs[0]


def test_a_floating_point_tensor_without_data_is_refused() -> None:
    with pytest.raises(Undecodable, match="has no data"):
        decode(inputs=[{"name": "x", "shape": [1], "datatype": "FP32"}])


def test_null_is_nan_and_nan_is_null() -> None:
    (tensor,) = decode(inputs=[x([1, None])]).inputs
    assert math.isnan(tensor.array()[1])
    assert b"null" in CODEC.encode_result(PredictResult("a", "m", outputs=(tensor,)))


def test_bytes_are_strings_or_base64() -> None:
    assert decode(inputs=[x(["é"], "BYTES")]).inputs[0].array().tolist() == ["é".encode()]
    encoded = x(["/w=="], "BYTES", parameters={"content_type": "base64"})
    assert decode(inputs=[encoded]).inputs[0].array().tolist() == [b"\xff"]
    binary = from_array("y", np.array([b"\xff"], object))
    assert CODEC.decode_result(CODEC.encode_result(PredictResult("a", "m", outputs=(binary,)))).outputs == (binary,)


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (x([1.5], "INT64"), "integer"),
        (x([300], "UINT8"), "UINT8"),
        (x([-1], "UINT64"), "UINT64"),
        (x([2**70], "INT64"), "INT64"),
        (x([1], "BOOL"), "true or false"),
        (x([True], "INT8"), "integer"),
        (x(["a"]), "number"),
        (x([1], "BYTES"), "string"),
        (x([1], "COMPLEX"), "datatype"),
        (x([1, 2], shape=[3]), "elements"),
        (x([[1], 2], shape=[2]), "unevenly"),
        (x([1], shape=[-1]), "negative axis"),
        (x(["%%"], "BYTES", parameters={"content_type": "base64"}), "BYTES"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_the_reason(tensor: dict[str, Any], words: str) -> None:
    with pytest.raises(Undecodable, match=words):
        decode(inputs=[tensor])


@pytest.mark.parametrize(
    "value", [b"", b"{", b"[]", b"{}", b'{"inputs": 3}', b"\xff", b'{"inputs":[],"model_version":"x"}']
)
def test_what_is_no_request_is_undecodable(value: bytes) -> None:
    with pytest.raises(Undecodable):
        CODEC.decode_request(value, LIMITS)
