"""Each request gets one answer of its own, whatever its neighbours in the batch are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import msgspec
import numpy as np
import pytest

from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.connector import Answer, Headers, Record
from pipeline.errors import ConnectorError, PredictTimedOut, ServableDied
from pipeline.records import PredictRequest, PredictResult, Source
from pipeline.registry.servable import Servable, ServableId, Signature, TensorSpec
from pipeline.serving.dispatcher import Dispatcher
from pipeline.settings import DeadLetterSettings, RouteSettings
from pipeline.tensors import Array, from_array
from pipeline.testing.fakes import AddingServable, FakeClock, manager_with

AVRO, JSON = AvroCodec(), V2JsonCodec()
CLOCK = FakeClock()
GOOD = np.array([[1, 2]], np.float32)


def dispatcher(servable: Servable | None = None, **route: Any) -> Dispatcher:
    manager = manager_with({ServableId("adder", 3): servable or AddingServable()}, CLOCK)
    settings = RouteSettings(servable="adder", request_topic="q", result_topic="r", **route)
    return Dispatcher(settings, manager, [AVRO, JSON], CLOCK)


def request(id_: str, data: Any = GOOD, name: str = "x", **more: Any) -> PredictRequest:
    return PredictRequest(id_, inputs=(from_array(name, np.asarray(data)),), **more)


def record(value: PredictRequest | bytes, headers: Headers = (), offset: int = 0) -> Record:
    data = value if isinstance(value, bytes) else AVRO.encode_request(value)
    return Record(data, b"key", headers, "q", 1, offset, CLOCK.unix_ms() - 5)


def answer_one(value: PredictRequest | bytes, headers: Headers = (), **route: Any) -> tuple[PredictResult, Answer]:
    it = dispatcher(**route)
    (answer,) = it.answer(it.decode([record(value, headers)]))
    return AVRO.decode_result(answer.value), answer


def results(it: Dispatcher, *requests: PredictRequest) -> list[PredictResult]:
    records = [record(each, offset=offset) for offset, each in enumerate(requests)]
    return [AVRO.decode_result(answer.value) for answer in it.answer(it.decode(records))]


def test_an_answer_names_all_that_made_it() -> None:
    result, answer = answer_one(request("a"))
    assert (result.id, result.servable, result.version, result.digest) == ("a", "adder", 3, "sha256:0")
    assert result.outputs[0].array().tolist() == [3.0]
    assert result.source == Source("q", 1, 0)
    assert result.queue_us == 5000
    assert (answer.key, answer.topic, answer.dead_letter) == (b"key", None, None)


def test_requests_of_one_layout_are_computed_together_and_answered_in_order() -> None:
    servable = AddingServable()
    got = results(dispatcher(servable), *[request(str(n), np.full((n % 3, 2), n, np.float32)) for n in range(9)])
    assert [result.id for result in got] == [str(n) for n in range(9)]
    assert [result.outputs[0].array().tolist() for result in got] == [[2.0 * n] * (n % 3) for n in range(9)]
    assert servable.calls == [9]


def test_requests_of_one_target_are_no_larger_call_than_a_batch_may_be_and_each_gets_its_own_answer() -> None:
    servable = AddingServable()
    named = [request(str(n), np.full((1, 2), n % 9, np.float32), name=("x", "")[n % 2]) for n in range(10)]
    got = results(dispatcher(servable, max_batch_size=4), *named)
    assert servable.calls == [4, 4, 2]
    assert [(result.id, result.outputs[0].array().tolist()) for result in got] == [
        (str(n), [2.0 * (n % 9)]) for n in range(10)
    ]


class Asked(AddingServable):
    """Counts how often it is asked for its signatures."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = 0

    @property
    def signatures(self) -> Mapping[str, Signature]:  # type: ignore[override]  # a variable there
        self.asked += 1
        return AddingServable.signatures


def test_what_a_version_is_called_like_is_worked_out_once_however_many_batches_it_answers() -> None:
    servable = Asked()
    it = dispatcher(servable)
    results(it, request("a"))
    before = servable.asked
    assert [results(it, request(str(n)))[0].error for n in range(5)] == [None] * 5
    assert servable.asked == before


BAD = {
    "unknown_servable": request("b", servable="nobody"),
    "unknown_version": request("b", version=9),
    "unknown_label": request("b", label="canary"),
    "unknown_signature": request("b", signature="other"),
    "unknown_input": request("b", name="y"),
    "wrong_datatype": request("b", np.array([[1, 2]], np.int64)),
    "wrong_shape": request("b", np.zeros((1, 3), np.float32)),
    "model_error": request("b", np.array([[13, 0]], np.float32)),
    "deadline_exceeded": request("b", deadline_ms=CLOCK.unix_ms() - 1),
    "no_inputs": PredictRequest("b"),
    "undecodable": b"\xc3\x01nonsense",
    "record_too_large": request("b", np.zeros((2000, 2), np.float32)),
}


@pytest.mark.parametrize("code", BAD)
def test_a_bad_request_gets_its_code_and_its_neighbours_their_answers(code: str) -> None:
    it = dispatcher(max_record_bytes=10_000)
    records = [
        record(request("a")),
        record(BAD[code], offset=1),
        record(request("c", np.full((1, 2), 5, np.float32)), offset=2),
    ]
    answers = it.answer(it.decode(records))
    first, bad, last = [AVRO.decode_result(answer.value) for answer in answers]
    assert bad.error is not None
    assert bad.error.code == code
    assert bad.source == Source("q", 1, 1)
    assert dict(answers[1].headers) == {"status": b"error", "error-code": code.encode()}
    assert (answers[1].dead_letter is not None) == (code in ("undecodable", "record_too_large"))
    assert [first.error, last.error] == [None, None]
    assert last.outputs[0].array().tolist() == [10.0]


@pytest.mark.parametrize(("errors", "kept"), [(("all",), 1), (("model_error",), 1), (("undecodable",), 0), ((), 0)])
def test_a_route_keeps_the_requests_whose_error_it_names(errors: tuple[str, ...], kept: int) -> None:
    bad = np.array([[13, 0]], np.float32)
    _, answer = answer_one(request("a", bad), dead_letters=DeadLetterSettings(errors=errors))
    assert [answer.dead_letter is not None].count(True) == kept


@pytest.mark.parametrize(
    ("kills", "after", "code"),
    [(2, 3, None), (3, 3, "poison_record"), (2, 2, "poison_record"), (99, 0, None)],
)
def test_a_request_that_has_killed_as_many_workers_as_are_allowed_is_not_computed(
    kills: int, after: int, code: str | None
) -> None:
    servable = AddingServable()
    it = dispatcher(servable, poison_after_kills=after)
    (answer,) = it.answer(it.decode([msgspec.structs.replace(record(request("a")), kills=kills)]))
    result = AVRO.decode_result(answer.value)
    assert (result.id, result.error and result.error.code) == ("a", code)
    assert (answer.dead_letter is not None, len(servable.calls)) == ((True, 0) if code else (False, 1))


def test_a_request_that_kills_while_it_is_set_aside_is_not_even_decoded() -> None:
    """Its id is then that of its headers."""
    it = dispatcher(poison_after_kills=3)
    poison = msgspec.structs.replace(record(request("a"), [("x-request-id", b"b")]), kills=4)
    (pending,) = it.decode([poison])
    assert pending.request is None
    (answer,) = it.answer([pending])
    assert AVRO.decode_result(answer.value).id == "b"


@pytest.mark.parametrize("data", [np.float32(1), np.zeros(2, np.float32), np.zeros((1, 2, 1), np.float32)])
def test_a_tensor_of_another_rank_is_a_wrong_shape(data: Array) -> None:
    result, _ = answer_one(request("b", data))
    assert result.error is not None
    assert result.error.code == "wrong_shape"


def test_a_model_that_raises_is_asked_again_without_its_culprit() -> None:
    servable = AddingServable()
    bad = np.array([[13, 0]], np.float32)
    got = results(dispatcher(servable), *[request(str(n), bad if n == 5 else GOOD) for n in range(8)])
    assert [result.error.code if result.error else None for result in got] == [None] * 5 + ["model_error"] + [None] * 2
    assert len(servable.calls) < 8


class Outputs(AddingServable):
    def __init__(self, outputs: Mapping[str, Array]) -> None:
        super().__init__()
        self._outputs = outputs

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return self._outputs


@pytest.mark.parametrize(
    "outputs", [{}, {"sum": np.zeros(7)}, {"sum": np.float32(1)}, {"sum": np.zeros(1, np.complex64)}], ids=str
)
def test_outputs_that_can_not_be_cut_are_the_models_error(outputs: Mapping[str, Array]) -> None:
    (result,) = results(dispatcher(Outputs(outputs)), request("a"))
    assert result.error is not None
    assert result.error.code == "model_error"


def test_a_result_over_the_limit_is_an_error_that_says_so() -> None:
    result, _ = answer_one(request("a", np.zeros((500, 2), np.float32)), max_result_bytes=1000)
    assert result.error is not None
    assert result.error.code == "result_too_large"


class Pair:
    """Not batched: x [2], y [-1]."""

    signatures: ClassVar = {
        "serving_default": Signature(
            (TensorSpec("x", "FP32", (2,)), TensorSpec("y", "FP32", (-1,))),
            (TensorSpec("z", "FP32", ()),),
            batched=False,
        )
    }

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        return {"z": inputs["x"].sum() + inputs["y"].sum()}


def test_an_unbatched_signature_is_called_once_per_request() -> None:
    x = from_array("x", np.ones(2, np.float32))
    wrong = from_array("x", np.ones(3, np.float32))
    y = from_array("y", np.ones(5, np.float32))
    got = results(dispatcher(Pair()), PredictRequest("a", inputs=(x, y)), PredictRequest("b", inputs=(wrong, y)))
    assert got[0].outputs[0].array() == 7
    assert got[0].outputs[0].shape == ()
    assert got[1].error is not None
    assert got[1].error.code == "wrong_shape"


def test_a_json_request_gets_a_json_result_and_its_headers_back() -> None:
    body = b'{"id":"j","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}'
    it = dispatcher()
    headers = [
        ("content-type", b"application/json"),
        ("mine", b"\xff"),
        ("mine", b"2"),
        ("none", None),
        ("model", b"adder"),
    ]
    (answer,) = it.answer(it.decode([record(body, headers)]))
    assert JSON.decode_result(answer.value).outputs[0].array().tolist() == [3.0]
    assert list(answer.headers) == [
        ("content-type", b"application/json"),
        ("mine", b"\xff"),
        ("mine", b"2"),
        ("model", b"adder"),
    ]


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ([("model", b"nobody")], "unknown_servable"),
        ([("model-version", b"9")], "unknown_version"),
        ([("mlserver-version", b"canary")], "unknown_label"),
        ([("timeout-ms", b"1")], "deadline_exceeded"),
        ([("deadline-ms", b"1")], "deadline_exceeded"),
        ([("deadline-ms", b"soon")], "undecodable"),
        ([("content-type", b"text/html")], "undecodable"),
        ([("reply_to", b"elsewhere")], "reply_refused"),
    ],
)
def test_headers_mean_what_the_table_says(headers: Headers, code: str) -> None:
    result, answer = answer_one(request("a"), headers)
    assert result.error is not None
    assert result.error.code == code
    assert answer.topic is None


def test_an_answer_goes_where_the_request_asks_within_the_allow_list() -> None:
    _, answer = answer_one(request("a"), [("reply_to", b"mine.1"), ("reply_partition", b"2")], reply_topics=("mine.*",))
    assert (answer.topic, answer.partition) == ("mine.1", 2)
    assert not answer.headers
    _, spring = answer_one(request("a"), [("kafka_replyPartition", b"\0\0\0\3")])
    assert spring.partition == 3


def test_the_answer_that_a_broker_refuses_becomes_an_error_to_the_default_place() -> None:
    it = dispatcher()
    answer = it.refuse(record(request("a"), [("reply_partition", b"99")]), ConnectorError("r", "no such partition"))
    result = AVRO.decode_result(answer.value)
    assert result.id == "a"
    assert result.error is not None
    assert result.error.code == "connector_error"
    assert answer.partition is None


class Costly:
    """Row 1 ends its process, row 2 hangs for ``timeout_s``; what is asked is written down."""

    signatures = AddingServable.signatures

    def __init__(self, timeout_s: float = 60.0) -> None:
        self.calls: list[int] = []
        self.timeout_s = timeout_s

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        x = inputs["x"]
        self.calls.append(len(x))
        if (x == 1).any():
            raise ServableDied("adder/3", "was ended by SIGSEGV", "it is being replaced")
        if (x == 2).any():
            CLOCK.advance(self.timeout_s)
            raise PredictTimedOut("adder/3", self.timeout_s, "so its process was killed")
        return {"sum": x.sum(axis=1)}


def rows(*numbers: int) -> list[PredictRequest]:
    return [request(str(place), np.full((1, 2), number, np.float32)) for place, number in enumerate(numbers)]


@pytest.mark.parametrize(("number", "code"), [(1, "servable_died"), (2, "predict_timed_out")])
def test_a_request_that_costs_a_process_costs_two_and_its_neighbours_are_answered(number: int, code: str) -> None:
    servable = Costly()
    found = results(dispatcher(servable), *rows(*[5] * 40, number, *[5] * 23))
    assert [r.id for r in found if r.error is not None] == ["40"]
    assert found[40].error is not None
    assert (found[40].error.code, found[40].error.retriable) == (code, True)
    assert servable.calls == [64, *[1] * 64]


def test_requests_that_die_in_a_row_leave_those_behind_them_alone() -> None:
    """Deaths are quick; time is what a group may not lose."""
    found = results(dispatcher(Costly()), *rows(*[1] * 20, *[5] * 20))
    assert [r.error is None for r in found] == [False] * 20 + [True] * 20


def test_a_servable_that_hangs_on_everything_holds_up_a_batch_for_four_timeouts_and_not_for_each_request() -> None:
    servable = Costly()
    start_s = CLOCK.monotonic_s()
    found = results(dispatcher(servable), *rows(*[2] * 64))
    assert CLOCK.monotonic_s() - start_s == 4 * 60
    assert [r.error.code for r in found if r.error] == ["predict_timed_out"] * 3 + ["not_ready"] * 61
    assert found[-1].error is not None
    assert "not tried" in found[-1].error.message
    assert servable.calls == [64, 1, 1, 1]


def test_a_servable_that_answers_in_between_is_not_given_up() -> None:
    found = results(dispatcher(Costly()), *rows(*[2, 5] * 8))
    assert [r.error is None for r in found] == [False, True] * 8
