"""A route with `format: cluster-serving` answers what the ancestor's clients ask, each request by itself."""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.cluster_serving import ClusterServingCodec
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.connector import Answer, Record
from pipeline.errors import MissingExtra
from pipeline.registry.servable import Servable, ServableId, Signature, TensorSpec
from pipeline.serving.dispatcher import Dispatcher
from pipeline.settings import ClusterServingSettings, RouteSettings
from pipeline.settings.routes import complete_route
from pipeline.tensors import Array
from pipeline.testing.fakes import AddingServable, FakeClock, manager_with
from tests.unit.codecs import ancestor_bytes as theirs

CLOCK = FakeClock()


class Echo:
    """Returns its inputs as outputs of the same names."""

    def __init__(self, *inputs: TensorSpec, batched: bool = True) -> None:
        self.signatures: Mapping[str, Signature] = {"serving_default": Signature(inputs, inputs, batched)}
        self.calls: list[dict[str, Array]] = []

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """See Servable."""
        del signature
        self.calls.append(dict(inputs))
        return inputs


def spec(name: str, datatype: str, *shape: int) -> TensorSpec:
    return TensorSpec(name, datatype, shape)


def answers(servable: Servable, *values: bytes, route: Mapping[str, Any] | None = None, **job: Any) -> list[Answer]:
    manager = manager_with({ServableId("job", 1): servable}, CLOCK)
    settings = RouteSettings(
        format="cluster-serving",
        cluster_serving=ClusterServingSettings(**job),
        **{"connector": "redis", **(route or {})},
    )
    codecs = [AvroCodec(), ClusterServingCodec(), V2JsonCodec()]
    it = Dispatcher(complete_route("job", settings), manager, codecs, CLOCK)
    records = [Record(value, b'"key"', (), "job", 0, offset, 0) for offset, value in enumerate(values)]
    return it.answer(it.decode(records))


def ask(servable: Servable, columns: Mapping[str, Any], **job: Any) -> Any:
    [answer] = answers(servable, theirs.entry("u", theirs.stream(columns)), **job)
    got = theirs.decoded(answer.value)
    assert not isinstance(got, str), answer.headers
    return got


def failure(servable: Servable, columns: Mapping[str, Any], **job: Any) -> tuple[str, str]:
    [answer] = answers(servable, theirs.entry("u", theirs.stream(columns)), **job)
    assert answer.value == b"NaN"
    said = {name: (value or b"").decode() for name, value in answer.headers}
    assert said["status"] == "error"
    return said["error-code"], said["error"]


def test_the_result_is_keyed_by_the_plain_uri_whatever_the_key_of_the_request() -> None:
    [answer] = answers(AddingServable(), theirs.entry("a:b", theirs.stream({"t": theirs.tensor([[1, 2]])})))
    assert answer.key == b"a:b"
    assert answer.headers == []
    assert theirs.decoded(answer.value).tolist() == [3]


def test_requests_of_one_batch_are_computed_together_whatever_they_call_their_input() -> None:
    servable = AddingServable()
    columns: list[dict[str, Any]] = [
        {"x": theirs.tensor([[1, 2]])},
        {"t": theirs.tensor([3, 4])},
        {"img": theirs.tensor([[5, 6]])},
    ]
    got = answers(servable, *[theirs.entry(str(n), theirs.stream(each)) for n, each in enumerate(columns)])
    assert [theirs.decoded(answer.value).tolist() for answer in got] == [[3], 7, [11]]
    assert servable.calls == [3]


def test_an_answer_has_a_batch_axis_where_its_request_has_one() -> None:
    servable = Echo(spec("x", "FP32", -1, 2))
    assert ask(servable, {"t": theirs.tensor([[1, 2], [3, 4]])}).tolist() == [[1, 2], [3, 4]]
    assert ask(servable, {"t": theirs.tensor([1, 2])}).tolist() == [1, 2]
    assert ask(Echo(spec("x", "FP32", -1)), {"t": theirs.tensor(5)}).tolist() == 5


def test_names_count_where_one_is_known_and_else_the_order() -> None:
    servable = Echo(spec("a", "FP32", -1), spec("b", "FP32", -1))
    by_order = ask(servable, {"u": theirs.tensor([1]), "v": theirs.tensor([2])})
    assert [it.tolist() for it in by_order] == [[1], [2]]
    by_name = ask(servable, {"b": theirs.tensor([1]), "a": theirs.tensor([2])})
    assert [it.tolist() for it in by_name] == [[2], [1]]
    assert failure(servable, {"a": theirs.tensor([1]), "c": theirs.tensor([2])})[0] == "unknown_input"
    assert failure(servable, {"a": theirs.tensor([1])})[0] == "missing_input"


@pytest.mark.parametrize(
    ("datatype", "dtype"), [("INT64", "i8"), ("UINT8", "u1"), ("FP64", "f8"), ("FP16", "f2"), ("BOOL", "u1")]
)
def test_numbers_become_what_the_servable_computes_with(datatype: str, dtype: str) -> None:
    servable = Echo(spec("x", datatype, -1, 2))
    got = ask(servable, {"t": theirs.tensor([[0, 1]])})
    assert got.dtype == dtype
    assert servable.calls[0]["x"].dtype.kind == {"BOOL": "b"}.get(datatype, dtype[0])
    assert got.tolist() == [[0, 1]]


@pytest.mark.parametrize(
    ("datatype", "number"),
    [
        ("INT64", 1.5),
        ("UINT8", 256),
        ("UINT8", -1),
        ("INT32", 2.0**31),
        ("INT64", float("nan")),
        ("BOOL", 2),
        ("FP16", 1e6),
    ],
)
def test_a_number_that_its_datatype_can_not_hold_is_refused_and_not_changed(datatype: str, number: float) -> None:
    code, text = failure(Echo(spec("x", datatype, -1)), {"t": theirs.tensor([1, number])})
    assert code == "invalid_input"
    assert f"is no {datatype}" in text


def test_nan_and_infinity_are_numbers() -> None:
    got = ask(Echo(spec("x", "FP64", -1)), {"t": theirs.tensor([np.nan, np.inf])})
    assert np.isnan(got[0])
    assert np.isinf(got[1])


def test_a_sparse_tensor_reaches_the_servable_dense() -> None:
    got = ask(Echo(spec("x", "FP32", -1, 3)), {"t": theirs.sparse([[0, 1], [2, 0]], [7, 8], [2, 3])})
    assert got.tolist() == [[0, 0, 7], [8, 0, 0]]


class Words:
    """The lengths of texts."""

    signatures: Mapping[str, Signature] = {
        "serving_default": Signature((spec("text", "BYTES", -1),), (spec("length", "INT64", -1),))
    }

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """See Servable."""
        del signature
        return {"length": np.array([len(text) for text in inputs["text"]])}


def test_texts_and_encoded_images_reach_a_servable_of_bytes() -> None:
    assert ask(Words(), {"t": theirs.text("a", "bcd")}).tolist() == [1, 3]
    assert ask(Words(), {"t": theirs.text("single")}).tolist() == [6]
    jpeg = image()
    assert ask(Words(), {"t": theirs.text(base64.b64encode(jpeg).decode())}).tolist() == len(jpeg)


def image(width: int = 8, height: int = 4) -> bytes:
    """A PNG whose blue is the column, whose green is the row, and whose red is 200."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, :, 0], pixels[:, :, 1], pixels[:, :, 2] = np.arange(width), np.arange(height)[:, None], 200
    return cv2.imencode(".png", pixels)[1].tobytes()


def as_text(content: bytes) -> Any:
    return theirs.text(base64.b64encode(content).decode())


def test_an_image_becomes_the_pixels_that_the_input_wants() -> None:
    planar = ask(Echo(spec("x", "FP32", -1, 3, 4, 8)), {"t": as_text(image())})
    assert planar.shape == (3, 4, 8)
    assert (planar[0] == np.arange(8)).all()
    assert (planar[2] == 200).all()
    last = ask(Echo(spec("x", "UINT8", -1, 4, 8, 3)), {"t": as_text(image())}, image_colour="RGB")
    assert last.dtype == np.uint8
    assert (last[:, :, 0] == 200).all()
    assert ask(Echo(spec("x", "FP32", -1, 3, 2, 2)), {"t": as_text(image())}).shape == (3, 2, 2)
    grey = ask(Echo(spec("x", "FP32", -1, 1, -1, -1)), {"t": as_text(image())}, image_colour="GRAY")
    assert grey.shape == (1, 4, 8)
    sized = ask(Echo(spec("x", "FP32", -1, 3, -1, -1)), {"t": as_text(image())}, image_width=16, image_height=2)
    assert sized.shape == (3, 2, 16)


def test_what_is_no_image_or_meets_no_pixels_is_refused() -> None:
    servable = Echo(spec("x", "FP32", -1, 3, 4, 8))
    assert failure(servable, {"t": as_text(image()[:40])})[0] == "invalid_input"
    code, text = failure(Echo(spec("x", "FP32", -1, 7)), {"t": as_text(image())})
    assert (code, "image of 3 channels" in text) == ("invalid_input", True)
    assert failure(servable, {"t": theirs.text("word")})[0] == "wrong_datatype"


def test_top_n_is_an_array_that_their_client_can_read() -> None:
    servable = Echo(spec("x", "FP32", -1, 4))
    one = ask(servable, {"t": theirs.tensor([0.1, 0.6, 0.2, 0.1])}, post_processing="topN(2)")
    assert one.tolist() == [[1, pytest.approx(0.6)], [2, pytest.approx(0.2)]]
    two = ask(servable, {"t": theirs.tensor([[0, 1, 2, np.nan], [9, 9, 0, 0]])}, post_processing="topN(3)")
    assert two.tolist() == [[[2, 2], [1, 1], [0, 0]], [[0, 9], [1, 9], [2, 0]]]
    assert ask(servable, {"t": theirs.tensor([1, 2, 3, 4])}, post_processing="topN(9)").shape == (4, 2)
    picked = ask(servable, {"t": theirs.tensor([1, 2, 3, 4])}, post_processing="pickTopN(2)")
    assert picked.tolist() == [1, 2]


class Failing(Echo):
    """Echo that fails on 13, and has no numbers for 14."""

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """See Servable."""
        if (inputs["x"] == 13).any():
            raise RuntimeError("thirteen")
        return super().predict(signature, inputs)


def test_whatever_is_wrong_with_one_request_its_neighbours_are_answered() -> None:
    good = theirs.entry("good", theirs.stream({"t": theirs.tensor([1, 2])}))
    bad = {
        "model_error": theirs.entry("b", theirs.stream({"t": theirs.tensor([13, 2])})),
        "wrong_shape": theirs.entry("b", theirs.stream({"t": theirs.tensor([1, 2, 3])})),
        "undecodable": theirs.entry("b", "???"),
        "no_inputs": theirs.entry("b", json.dumps({"instances": [{}]}), serde="stream"),
        "unknown_input": theirs.entry("b", theirs.stream({"x": theirs.tensor([1, 2]), "y": theirs.tensor([1, 2])})),
    }
    got = answers(Failing(spec("x", "FP32", -1, 2)), good, *bad.values(), good)
    assert [theirs.decoded(got[place].value).tolist() for place in (0, -1)] == [[1, 2], [1, 2]]
    codes = [dict(answer.headers)["error-code"] for answer in got[1:-1]]
    assert codes == [code.encode() for code in bad]
    assert {(answer.value, answer.key) for answer in got[1:-1]} == {(b"NaN", b"b")}
    assert [answer.dead_letter is not None for answer in got[1:-1]] == [code == "undecodable" for code in bad]


def test_outputs_without_a_form_fail_with_a_reason_and_hurt_nobody() -> None:
    servable = Echo(spec("x", "FP32", -1, -1))
    good, empty = (theirs.entry("u", theirs.stream({"t": theirs.tensor(it)})) for it in ([[1]], np.zeros((1, 0))))
    got = answers(servable, good, empty)
    assert theirs.decoded(got[0].value).tolist() == [1]  # [1, 1]: a shape is never longer than its data
    assert got[1].value == b"NaN"
    assert dict(got[1].headers)["error-code"] == b"not_representable"


def test_on_a_topic_a_failure_is_an_array_that_their_client_survives() -> None:
    bad = theirs.entry("b", "???")
    [answer] = answers(AddingServable(), bad, route={"connector": "kafka"})
    assert np.isnan(theirs.decoded(answer.value)).tolist() == [True]
    assert dict(answer.headers)["error-code"] == b"undecodable"
    [answer] = answers(AddingServable(), bad, route={"connector": "kafka"}, failures="nan")
    assert answer.value == b"NaN"


@pytest.mark.parametrize(
    ("value", "key"),
    [
        (b'{"uri": "u", "data": 1}', b"u"),
        (b'{"uri": 7}', b"7"),
        (b'{"data": ""}', b'"key"'),
        (b"garbage", b"key"),
        (b"", b"key"),
        (b'{"uri": {}, "data": ""}', b'"key"'),
    ],
)
def test_even_what_can_not_be_read_is_answered_to_whoever_asked_as_far_as_it_tells(value: bytes, key: bytes) -> None:
    [answer] = answers(AddingServable(), value)
    assert (answer.value, answer.key) == (b"NaN", key)


def test_a_request_of_another_format_is_answered_in_its_own_where_its_header_says_so() -> None:
    value = b'{"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}'
    manager = manager_with({ServableId("job", 1): AddingServable()}, CLOCK)
    route = complete_route("job", RouteSettings(format="cluster-serving"))
    it = Dispatcher(route, manager, [AvroCodec(), ClusterServingCodec(), V2JsonCodec()], CLOCK)
    headers = (("content-type", b"application/json"),)
    [answer] = it.answer(it.decode([Record(value, b"k", headers, "job", 0, 0, 0)]))
    assert json.loads(answer.value)["outputs"][0]["data"] == [3]
    assert answer.key == b"k"


def test_an_unbatched_signature_gets_its_tensors_as_they_are() -> None:
    servable = Echo(spec("x", "FP32", 2, 3), batched=False)
    assert ask(servable, {"t": theirs.tensor(np.ones((2, 3)))}).shape == (2, 3)


def test_a_job_without_pyarrow_does_not_start_and_says_what_to_install(monkeypatch: Any) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"penstock-serving\[cluster-serving\]"):
        answers(AddingServable())


def test_a_job_has_the_topics_of_its_name() -> None:
    route = complete_route("serving_stream", RouteSettings(format="cluster-serving"))
    assert (route.request_topic, route.result_topic) == ("serving_stream", "cluster-serving_serving_stream")


def test_a_result_too_large_for_the_route_fails_in_their_form() -> None:
    columns = {"t": theirs.tensor(np.ones((1, 500)))}
    [answer] = answers(
        Echo(spec("x", "FP32", -1, -1)), theirs.entry("u", theirs.stream(columns)), route={"max_result_bytes": 1000}
    )
    assert (answer.value, dict(answer.headers)["error-code"]) == (b"NaN", b"result_too_large")
