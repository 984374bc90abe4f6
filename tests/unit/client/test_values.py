"""What a caller gives becomes the tensors it means, and results become what a caller can use."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.client.request import complete, headers_of, parse
from pipeline.client.values import tensor_of, value_of
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.errors import RemoteError, Undecodable
from pipeline.records import Error, PredictRequest, PredictResult
from pipeline.tensors import from_array


@pytest.mark.parametrize(
    ("value", "datatype", "shape"),
    [
        (np.zeros((2, 3), np.float64), "FP64", (2, 3)),
        (np.array(1, np.int8), "INT8", ()),
        (np.zeros((0, 4), np.uint8), "UINT8", (0, 4)),
        (np.float64(1), "FP64", (1,)),
        ([1.0, 2], "FP32", (2,)),
        ([[1, 2], [3, 4]], "INT64", (2, 2)),
        ([np.zeros(3), np.ones(3)], "FP64", (2, 3)),
        ([np.float64(1)], "FP64", (1,)),
        ((True, False), "BOOL", (2,)),
        ([], "FP32", (0,)),
        ([[]], "FP32", (1, 0)),
        (1, "INT64", (1,)),
        (1.5, "FP32", (1,)),
        (True, "BOOL", (1,)),
        ("text", "BYTES", (1,)),
        (b"raw", "BYTES", (1,)),
        (["a", "b"], "BYTES", (2,)),
        ([["a", b"b"]], "BYTES", (1, 2)),
        (np.array(["a", "b"]), "BYTES", (2,)),
        ({"b64": "AAE="}, "BYTES", (1,)),
        ([{"b64": "AAE="}, {"b64": ""}], "BYTES", (2,)),
    ],
)
def test_a_value_has_the_datatype_and_shape_it_means(value, datatype, shape):
    tensor = tensor_of("x", value)
    tensor.check()
    assert (tensor.datatype, tensor.shape) == (datatype, shape)


@pytest.mark.parametrize("value", [b"a\0\0", [b"a\0\0"], bytearray(b"a\0\0")])
def test_zero_bytes_at_the_end_survive(value):
    assert tensor_of("x", value).array().tolist() == [b"a\0\0"]


def test_base64_is_decoded():
    assert tensor_of("x", {"b64": "AAE="}).array().tolist() == [b"\0\1"]


@pytest.mark.parametrize(
    "value",
    [
        [[1, 2], [3]],
        None,
        object(),
        [1, "a"],
        ["a", 1],
        [b"a", None],
        np.array([1, "a"], object),
        {"path": "a.jpg"},
        {"b64": "?"},
        {"b64": 1},
        1j,
        2**70,
        [{"b64": "AA=="}, 1],
        np.array(["2020-01-01"], "datetime64[D]"),
    ],
)
def test_what_is_no_tensor_is_refused_by_name(value):
    with pytest.raises(TypeError, match="tensor 'pixels'"):
        tensor_of("pixels", value)


def test_request_data_in_all_its_forms():
    def layout(request):
        return [(tensor.name, tensor.datatype, tensor.shape) for tensor in request.inputs]

    assert layout(parse({"a": [1.0], "b": "t"})) == [("a", "FP32", (1,)), ("b", "BYTES", (1,))]
    assert layout(parse(np.zeros((2, 2)))) == [("", "FP64", (2, 2))]
    assert layout(parse([1, 2])) == [("", "INT64", (2,))]
    assert layout(parse('{"instances": [{"a": [1.0, 2], "k": "x"}, {"k": "y", "a": [3, 4]}]}')) == [
        ("a", "FP32", (2, 2)),
        ("k", "BYTES", (2,)),
    ]
    assert layout(parse('{"instances": [[1.5], [2]]}')) == [("", "FP32", (2, 1))]
    assert layout(parse('{"instances": [{"b64": "AA=="}]}')) == [("", "BYTES", (1,))]
    assert layout(parse('{"instances": [{"image": {"b64": "AA=="}}]}')) == [("image", "BYTES", (1,))]
    assert layout(parse('{"inputs": {"a": [[1]]}}')) == [("a", "INT64", (1, 1))]


def test_open_inference_protocol_text_keeps_what_it_says():
    text = V2JsonCodec().encode_request(
        PredictRequest(
            "i", "m", version=3, signature="s", inputs=(from_array("x", np.zeros(2)),), parameters={"a": "b"}
        )
    )
    request = complete(parse(text.decode()), "id", "default", {})
    assert (request.id, request.servable, request.version, request.signature) == ("id", "m", 3, "s")
    assert request.parameters == {"a": "b"}
    other = complete(parse(text.decode()), "id", "default", {"label": "stable", "parameters": {"c": "d"}})
    assert (other.version, other.label, other.parameters) == (None, "stable", {"a": "b", "c": "d"})


@pytest.mark.parametrize(
    "text",
    ["", "image.jpg", "[1]", "3", "{}", '{"instances": 1}', '{"inputs": 1}', '{"instances": [{"a": 1}, {"b": 1}]}'],
)
def test_text_that_is_no_request_is_refused(text):
    with pytest.raises(Undecodable):
        parse(text)


def test_options_reach_the_request():
    request = complete(parse({"version": 1}), "id", "queue", {"version": 0, "deadline_ms": 5, "servable": "mine"})
    assert (request.servable, request.version, request.label, request.deadline_ms) == ("mine", 0, None, 5)
    assert complete(parse({"x": 1}), "id", "queue", {}).servable == "queue"
    assert headers_of({"headers": {"a": "b"}}) == headers_of({"headers": [("a", "b")]}) == [("a", "b")]
    assert headers_of({}) == []


def test_one_output_is_an_array_and_several_are_a_dict():
    one, two = from_array("a", np.arange(3.0)), from_array("b", np.array([b"t"], object))
    array = value_of(PredictResult("i", "s", outputs=(one,)))
    array += 1
    assert array.tolist() == [1, 2, 3]
    values = value_of(PredictResult("i", "s", outputs=(one, two)))
    assert {name: value.tolist() for name, value in values.items()} == {"a": [0, 1, 2], "b": [b"t"]}


def test_an_error_result_is_raised_as_the_wire_says():
    with pytest.raises(RemoteError) as caught:
        value_of(PredictResult("i", "s", error=Error("not_ready", "later", retriable=True)))
    assert (caught.value.code, caught.value.retriable, caught.value.id) == ("not_ready", True, "i")
    assert json.dumps(str(caught.value))
