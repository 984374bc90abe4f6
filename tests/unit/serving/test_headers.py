"""What headers of requests mean, and which of them a result repeats."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from pipeline.connector import Headers, Record
from pipeline.errors import ResultTooLarge, Undecodable
from pipeline.records import PredictRequest
from pipeline.registry.servable import ServableId
from pipeline.serving.dispatcher import Dispatcher
from pipeline.serving.headers import Envelope, HeaderTable, id_of_key
from pipeline.settings import HeaderNames, RouteSettings
from pipeline.testing.fakes import AddingServable, FakeClock, manager_with
from tests.unit.serving.test_dispatcher import AVRO, CLOCK, JSON, answer_one, dispatcher, record, request

NOW_MS = CLOCK.unix_ms()
TABLE = HeaderTable(HeaderNames(), FakeClock(NOW_MS))
# What an envelope has of its own, besides the meaning of each header.
_SAID = [name for name in Envelope.__struct_fields__ if name not in ("echoed", "is_framed")]


def _deadline_ms(headers: Headers, timestamp_ms: int) -> int | None:
    """Return the deadline of a request with these headers that was written then."""
    written = Record(b"", None, headers, "q", 0, 0, timestamp_ms)
    return TABLE.completed(PredictRequest(""), TABLE.read(headers), written).deadline_ms


MEANINGS: dict[str, tuple[Headers, dict[str, Any]]] = {
    "our own": (
        [("x-request-id", b"a"), ("model", b"m"), ("model-version", b"3"), ("reply_to", b"t"),
         ("reply_partition", b"2")],
        {"id": "a", "servable": "m", "version": "3", "reply_topic": "t", "reply_partition": 2},
    ),
    "MLServer": ([("mlserver-model", b"m"), ("mlserver-version", b"v1")], {"servable": "m", "version": "v1"}),
    "Seldon": ([("seldon-model", b"m")], {"servable": "m"}),
    "Spring": (
        [("kafka_replyTopic", b"t"), ("kafka_replyPartition", b"\0\0\1\2"), ("kafka_correlationId", b"\xff\0")],
        {"reply_topic": "t", "reply_partition": 258},
    ),
    "Spring, any partition": ([("kafka_replyPartition", b"\xff\xff\xff\xff")], {}),
    "Faust": ([("Faust-Ag-ReplyTo", b"t"), ("Faust-Ag-CorrelationId", b"c")], {"reply_topic": "t"}),
    "Triton": ([("Inference-Header-Content-Length", b"12")], {"json_bytes": 12}),
    "CloudEvents": ([("ce_specversion", b"1.0"), ("ce_id", b"e")], {"id": "e", "is_event": True}),
    "the first of two": ([("model", b"a"), ("seldon-model", b"b"), ("model", b"c")], {"servable": "a"}),
    "null and empty values": (
        [("model", None), ("model", b""), ("deadline-ms", b""), ("seldon-model", b"b")], {"servable": "b"},
    ),
    "the earliest deadline": (
        [("deadline-ms", b"900"), ("deadline-ms", b"700"), ("timeout-ms", b"5"), ("timeout-ms", b"6")],
        {"deadline_ms": 700, "timeout_ms": 5},
    ),
}  # fmt: skip


@pytest.mark.parametrize("who", MEANINGS)
def test_headers_are_understood_as_others_write_them(who: str) -> None:
    given_headers, meaning = MEANINGS[who]
    envelope = TABLE.read(given_headers)
    assert {name: getattr(envelope, name) for name in _SAID if getattr(envelope, name)} == meaning


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("deadline-ms", b"soon"),
        ("timeout-ms", b"-1"),
        ("timeout-ms", b"9" * 19),
        ("reply_partition", str(2**31).encode()),
        ("reply_partition", "²".encode()),
        ("kafka_replyPartition", b"\0\0\0\0\0\0\0\1"),
        ("Inference-Header-Content-Length", b"1e3"),
        ("x-request-id", b"\xff"),
    ],
)
def test_a_value_that_is_not_of_its_kind_is_a_problem_that_hides_no_other_header(name: str, value: bytes) -> None:
    envelope = TABLE.read([(name, value), ("reply_to", b"t")])
    assert isinstance(envelope.problem, Undecodable)
    assert name in str(envelope.problem)
    assert envelope.reply_topic == "t"


@given(st.lists(st.tuples(st.sampled_from([*HeaderNames().by_name(), "ce_x", "mine"]), st.none() | st.binary())))
def test_no_value_of_any_header_makes_reading_fail(headers: Headers) -> None:
    envelope = TABLE.read(headers)
    assert envelope.reply_partition is None or 0 <= envelope.reply_partition < 2**31
    deadline_ms = _deadline_ms(headers, NOW_MS)
    assert deadline_ms is None or deadline_ms < 2**63


@pytest.mark.parametrize(
    ("timestamp_ms", "deadline_ms"),
    [(NOW_MS - 30, NOW_MS + 70), (-1, NOW_MS + 100), (0, NOW_MS + 100), (NOW_MS + 10**12, NOW_MS + 100)],
    ids=["written 30 ms ago", "no timestamp", "zero", "far in the future"],
)
def test_a_timeout_counts_from_the_timestamp_and_from_now_where_that_is_none_or_still_to_come(
    timestamp_ms: int, deadline_ms: int
) -> None:
    assert _deadline_ms([("timeout-ms", b"100")], timestamp_ms) == deadline_ms


def test_of_a_deadline_and_a_timeout_the_earlier_counts() -> None:
    for deadline_ms, earlier_ms in ((NOW_MS + 50, NOW_MS + 50), (NOW_MS + 150, NOW_MS + 100)):
        both = [("deadline-ms", str(deadline_ms).encode()), ("timeout-ms", b"100")]
        assert _deadline_ms(both, NOW_MS) == earlier_ms


def test_requests_of_a_batch_with_the_same_headers_have_each_its_own_id_and_deadline() -> None:
    """What headers mean is found once for all that have the same; what a record adds to it is its own."""
    value, headers = AVRO.encode_request(request("")), [("timeout-ms", b"100")]
    records = [Record(value, key, headers, "q", 0, 0, NOW_MS - ago_ms) for key, ago_ms in ((b"a", 50), (b"b", 200))]
    assert [
        (pending.request.id, pending.request.deadline_ms)
        for pending in dispatcher().decode(records)
        if pending.request is not None
    ] == [("a", NOW_MS + 50), ("b", NOW_MS - 100)]


def test_the_same_reply_address_is_allowed_or_not_by_the_request_topic_of_each() -> None:
    """A route of a pattern has a result topic for each of its request topics, and that one needs no allowance."""
    route = RouteSettings(servable="adder", request_topic=r"^q\..*", result_topic="{request_topic}.r")
    it = Dispatcher(route, manager_with({ServableId("adder", 3): AddingServable()}, CLOCK), [AVRO], CLOCK)
    value, headers = AVRO.encode_request(request("a")), [("reply_to", b"q.1.r"), ("reply_partition", b"2")]
    answers = it.answer(it.decode([Record(value, None, headers, topic, 0, 0, NOW_MS) for topic in ("q.1", "q.2")]))
    assert [(answer.topic, answer.partition) for answer in answers] == [("q.1.r", 2), (None, None)]
    assert [error and error.code for error in (AVRO.decode_result(answer.value).error for answer in answers)] == [
        None, "reply_refused",
    ]  # fmt: skip


def test_names_of_a_route_replace_those_of_the_table_and_none_turns_a_meaning_off() -> None:
    table = HeaderTable(HeaderNames(servable=("car-model", "model"), id=(), reply_topic=("answer-to",)), CLOCK)
    headers = [("car-model", b"m"), ("x-request-id", b"a"), ("reply_to", b"t"), ("answer-to", b"u")]
    assert table.read(headers) == Envelope(servable="m", reply_topic="u", echoed=headers[:3])


TRACE = [("traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"), ("tracestate", b"a=1,b=2")]
CORRELATION = [("kafka_correlationId", b"\xff\0\xfe"), ("correlation_id", b"x"), ("Faust-Ag-CorrelationId", b"y")]
OWN = [*TRACE, ("baggage", b"k=\xc3\xa9"), *CORRELATION, ("mine", b"\xff"), ("mine", b"2"), ("empty", b"")]


@pytest.mark.parametrize("value", [request("a"), request("a", version=9), b"no request"], ids=["ok", "error", "letter"])
def test_traces_correlations_and_what_is_the_callers_own_come_back_untouched(value: PredictRequest | bytes) -> None:
    """On results, on errors, and on those whose record becomes a dead letter."""
    _, answer = answer_one(value, OWN)
    assert list(answer.headers)[: len(OWN)] == OWN


def test_headers_that_describe_the_request_are_not_repeated_on_its_result() -> None:
    of_the_request = [
        ("deadline-ms", b"9999999999999"), ("status", b"error"), ("error-code", b"x"), ("source-offset", b"3"),
        ("model-digest", b"d"), ("__TypeId__", b"com.example.Request"), ("__value_schema_id", b"\0\0\0\0\1"),
    ]  # fmt: skip
    _, answer = answer_one(request("a"), [*of_the_request, ("mine", b"1"), ("null", None)])
    assert list(answer.headers) == [("mine", b"1")]


def test_a_result_to_a_record_without_headers_has_none() -> None:
    _, answer = answer_one(request("a"))
    assert not answer.headers


BODY = b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}'


@pytest.mark.parametrize("headers", [[], [("mine", b"1")], [("content-type", b"application/json; charset=utf-8")]])
def test_a_json_result_says_its_content_type_once(headers: Headers) -> None:
    it = dispatcher()
    (answer,) = it.answer(it.decode([record(BODY, headers)]))
    [content_type] = [value for name, value in answer.headers if name == "content-type"]
    assert content_type is not None
    assert content_type.startswith(b"application/json")


def test_an_error_in_another_format_than_the_request_claims_says_so() -> None:
    _, answer = answer_one(request("a"), [("content-type", b"text/html")])
    assert dict(answer.headers)["content-type"] == b"application/avro"


def test_full_result_headers_say_who_answered_what_and_how_it_ended() -> None:
    _, answer = answer_one(request("a"), [("model", b"adder"), ("mine", b"1")], result_headers="full")
    assert list(answer.headers) == [
        ("mine", b"1"), ("model", b"adder"), ("model-version", b"3"), ("model-digest", b"sha256:0"),
        ("source-topic", b"q"), ("source-partition", b"1"), ("source-offset", b"0"), ("status", b"ok"),
    ]  # fmt: skip
    _, error = answer_one(request("a", version=9), result_headers="full")
    said = dict(error.headers)
    assert (said["status"], said["error-code"], said["model"]) == (b"error", b"unknown_version", b"adder")
    assert said["source-offset"] == b"0"


@pytest.mark.parametrize(
    ("key", "id_"), [(b"k1", "k1"), (None, ""), (b"", ""), (b"\xff", ""), (b"\0\0\0\0\5key", ""), ("é".encode(), "é")]
)
def test_a_key_that_is_text_is_the_id_of_a_request_that_has_none(key: bytes | None, id_: str) -> None:
    assert id_of_key(key) == id_


def test_the_body_tells_the_id_before_a_header_and_a_header_before_the_key() -> None:
    header = [("x-request-id", b"header")]
    assert answer_one(request("body"), header)[0].id == "body"
    assert answer_one(request(""), header)[0].id == "header"
    assert answer_one(request(""))[0].id == "key"
    assert answer_one(b"no request")[0].id == "key"


@pytest.mark.parametrize("value", [b"no request", request("a")], ids=["undecodable", "good"])
@pytest.mark.parametrize("topic", [b"penstock.aspired-versions", b"q"], ids=["any topic", "its own request topic"])
def test_no_record_has_its_answer_written_where_the_allow_list_does_not_lead(
    value: PredictRequest | bytes, topic: bytes
) -> None:
    """Undecodable or not: the address is checked before anything else."""
    _, answer = answer_one(value, [("reply_to", topic)], reply_topics=("q", "mine.*"))
    assert (answer.topic, answer.partition) == (None, None)


def test_a_record_without_a_value_has_no_inputs_and_is_no_dead_letter() -> None:
    for headers in ([], [("content-type", b"application/json")], [("Inference-Header-Content-Length", b"5")]):
        it = dispatcher()
        (answer,) = it.answer(it.decode([record(b"", headers)]))
        codec = JSON if headers else AVRO
        error = codec.decode_result(answer.value).error
        assert error is not None
        assert (error.code, answer.dead_letter) == ("no_inputs", None)
        assert "no value" in error.message


def test_what_a_broker_refuses_as_too_large_becomes_an_error_that_repeats_small_headers_only() -> None:
    """What a request brings may be what makes its result too large: then its error must not bring it again."""
    headers = [("huge", b"x" * 500_000), ("mine", b"1"), ("model", b"adder"), ("large", b"y" * 9000)]
    refused = ResultTooLarge("adder", 1_100_000, 1_000_000)
    answer = dispatcher().refuse(record(request("a"), headers), refused)
    assert dict(answer.headers) == {
        "mine": b"1", "model": b"adder", "status": b"error", "error-code": b"result_too_large",
    }  # fmt: skip
    assert answer.key == b"key"
    large = Record(b"", b"k" * 9000, (), "q", 0, 0, 0)
    assert dispatcher().refuse(large, refused).key is None


@pytest.mark.parametrize("version", [b"9" * 18, b"9" * 19, b"9" * 5000, "²".encode()])
def test_a_version_that_no_stream_can_have_is_unknown(version: bytes) -> None:
    result, _ = answer_one(request("a"), [("model-version", version)])
    assert result.error is not None
    assert result.error.code in ("unknown_version", "unknown_label")
