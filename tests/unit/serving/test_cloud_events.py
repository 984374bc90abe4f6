"""A request that is a CloudEvent is answered by one, in its own mode, error or not."""

from __future__ import annotations

import base64
import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from pipeline.connector import Answer, Headers
from pipeline.serving import cloud_events
from tests.unit.serving.test_dispatcher import AVRO, CLOCK, JSON, answer_one, dispatcher, record, request

BODY = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
ATTRIBUTES = {
    "specversion": "1.0", "id": "e1", "source": "/shop", "type": "com.example.order", "time": "2026-01-01T00:00:00Z",
    "subject": "order 7", "dataschema": "https://example.com/schema", "correlationid": "txn", "causationid": "e0",
    "partitionkey": "p", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "sequence": "12",
}  # fmt: skip
# What every result says, by the place of its request: partition 1, offset 0.
RESULT = {
    "specversion": "1.0", "id": "1-0", "source": "/penstock/q", "type": "penstock.result", "causationid": "e1",
    "time": dt.datetime.fromtimestamp(CLOCK.unix_ms() / 1000, dt.UTC).isoformat().replace("+00:00", "Z"),
}  # fmt: skip
KEPT = {name: ATTRIBUTES[name] for name in ("subject", "correlationid", "partitionkey", "traceparent")}


def binary(content_type: str | None, **more: str) -> list[tuple[str, bytes | None]]:
    headers: list[tuple[str, bytes | None]] = [
        (f"ce_{name}", text.encode()) for name, text in {**ATTRIBUTES, **more}.items()
    ]
    return headers if content_type is None else [("content-type", content_type.encode()), *headers]


def structured(**members: Any) -> bytes:
    return json.dumps({**ATTRIBUTES, **members}).encode()


STRUCTURED: Headers = [("content-type", b"Application/CloudEvents+json; charset=UTF-8")]


def answer_to(value: bytes, headers: Headers, **route: Any) -> Answer:
    it = dispatcher(**route)
    (answer,) = it.answer(it.decode([record(value, headers)]))
    return answer


def attributes(answer: Answer) -> dict[str, str]:
    names = [name for name, _ in answer.headers]
    assert len(names) == len(set(names))
    return {
        name.removeprefix("ce_"): (value or b"").decode() for name, value in answer.headers if name.startswith("ce_")
    }


def test_a_binary_event_is_answered_by_a_binary_event_of_its_own() -> None:
    answer = answer_to(json.dumps(BODY).encode(), [*binary("application/json"), ("mine", b"1")])
    assert attributes(answer) == {**KEPT, **RESULT}
    assert dict(answer.headers)["content-type"] == b"application/json"
    assert dict(answer.headers)["mine"] == b"1"
    assert answer.key == b"key"  # never keyed anew
    result = JSON.decode_result(answer.value)
    assert result.id == "e1"
    assert result.outputs[0].array().tolist() == [3.0]


def test_a_binary_event_may_hold_avro_and_need_not_say_so() -> None:
    result, answer = answer_one(request(""), binary(None))
    assert result.id == "e1"
    assert dict(answer.headers)["content-type"] == b"application/avro"
    assert attributes(answer)["type"] == "penstock.result"


def test_a_structured_event_is_answered_by_a_structured_event_of_its_own() -> None:
    headers = [*STRUCTURED, ("ce_id", b"told twice"), ("traceparent", b"t")]
    answer = answer_to(structured(data=BODY, count=3, flag=True), headers)
    assert list(answer.headers) == [("traceparent", b"t"), ("content-type", b"application/cloudevents+json")]
    event = json.loads(answer.value)
    data = event.pop("data")
    assert event == {**KEPT, **RESULT, "datacontenttype": "application/json", "count": 3, "flag": True}
    assert data["outputs"][0]["data"] == [3.0]
    assert data["id"] == "e1"


def test_a_structured_event_may_hold_avro_in_base64() -> None:
    for named in ({}, {"datacontenttype": "application/avro"}):
        data = base64.b64encode(AVRO.encode_request(request(""))).decode()
        event = json.loads(answer_to(structured(data_base64=data, **named), STRUCTURED).value)
        assert event["datacontenttype"] == "application/avro"
        result = AVRO.decode_result(base64.b64decode(event["data_base64"]))
        assert (result.id, result.outputs[0].array().tolist()) == ("e1", [3.0])


@pytest.mark.parametrize(
    ("body", "code"),
    [({**BODY, "model_name": "nobody"}, "unknown_servable"), ({"inputs": []}, "no_inputs"), ({}, "undecodable")],
)
def test_errors_are_events_too(body: dict[str, Any], code: str) -> None:
    answer = answer_to(json.dumps(body).encode(), binary("application/json"))
    assert attributes(answer) == {**KEPT, **RESULT, "type": "penstock.error"}
    assert dict(answer.headers)["error-code"] == code.encode()
    inside = answer_to(structured(data=body), STRUCTURED)
    event = json.loads(inside.value)
    assert (event["type"], event["causationid"]) == ("penstock.error", "e1")
    assert event["data"]["parameters"]["error_code"] == code
    assert dict(inside.headers)["status"] == b"error"
    assert (answer.dead_letter is not None) == (inside.dead_letter is not None) == (code == "undecodable")


def test_an_event_without_data_has_no_inputs() -> None:
    """In binary mode it is a record without a value, which a compacted topic takes for a tombstone."""
    for value, headers in ((b"", binary("application/json")), (b"", binary(None)), (structured(), STRUCTURED)):
        answer = answer_to(value, headers)
        assert dict(answer.headers)["error-code"] == b"no_inputs"
        assert answer.dead_letter is None
        event_type = attributes(answer).get("type") or json.loads(answer.value)["type"]
        assert event_type == "penstock.error"


@pytest.mark.parametrize(
    "value",
    [
        b"{", b"[]", b"\xff", b'{"specversion": "0.3"}', b'{"specversion":"1.0","id":{}}',
        structured(id=""), structured(source=None), structured(data_base64="%%"), structured(data_base64=3),
        structured(data="text"), structured(data=BODY, datacontenttype="text/html"), structured(data=BODY, extra=[1]),
    ],
)  # fmt: skip
def test_what_is_no_event_is_undecodable_and_answered_by_an_event(value: bytes) -> None:
    answer = answer_to(value, STRUCTURED)
    assert json.loads(answer.value)["type"] == "penstock.error"
    assert dict(answer.headers)["error-code"] == b"undecodable"
    assert answer.dead_letter is not None


@pytest.mark.parametrize("attribute", ["id", "source", "type"])
def test_a_binary_event_lacks_nothing_that_every_event_has(attribute: str) -> None:
    answer = answer_to(json.dumps(BODY).encode(), binary("application/json", **{attribute: ""}))
    assert dict(answer.headers)["error-code"] == b"undecodable"
    assert answer.dead_letter is not None
    assert attribute in answer.dead_letter.message


@pytest.mark.parametrize("content_type", [b"application/cloudevents+avro", b"application/cloudevents-batch+json"])
def test_other_event_formats_and_batches_are_undecodable(content_type: bytes) -> None:
    answer = answer_to(b"[]", [("content-type", content_type)])
    error = AVRO.decode_result(answer.value).error
    assert error is not None
    assert content_type.decode() in error.message
    assert dict(answer.headers)["content-type"] == b"application/avro"


def test_an_event_over_the_limit_is_not_opened() -> None:
    answer = answer_to(structured(data=BODY, pad="x" * 2000), STRUCTURED, max_record_bytes=1000)
    assert dict(answer.headers)["error-code"] == b"record_too_large"


@pytest.mark.parametrize("kind", ["penstock.result", "penstock.error"])
def test_a_result_that_comes_back_as_a_request_is_not_answered_by_another_event(kind: str) -> None:
    """Else it would come back, too: events go in circles where a broker copies every one of them."""
    own = {"source": cloud_events.source_of("q"), "type": kind}
    for value, headers in (
        (json.dumps(BODY).encode(), binary("application/json", **own)),
        (structured(data=BODY, **own), STRUCTURED),
    ):
        answer = answer_to(value, headers)
        assert not attributes(answer)
        error = AVRO.decode_result(answer.value).error
        assert error is not None
        assert (error.code, answer.dead_letter) == ("undecodable", error)
        assert "came back" in error.message
    of_another = answer_to(json.dumps(BODY).encode(), binary("application/json", source="/penstock/other", type=kind))
    assert attributes(of_another)["type"] == "penstock.result"


def test_a_result_is_no_request_in_any_format() -> None:
    for value, headers in (
        (answer_to(AVRO.encode_request(request("a")), ()).value, ()),
        (answer_to(json.dumps(BODY).encode(), ()).value, ()),
    ):
        assert dict(answer_to(value, headers).headers)["error-code"] == b"undecodable"


@pytest.mark.parametrize(
    ("expirytime", "is_late"), [("2020-01-01T00:00:00Z", True), ("2999-01-01T00:00:00+02:00", False)]
)
def test_the_expiry_time_of_an_event_is_its_deadline(expirytime: str, is_late: bool) -> None:  # noqa: FBT001  # a case
    answer = answer_to(json.dumps(BODY).encode(), binary("application/json", expirytime=expirytime))
    assert dict(answer.headers).get("error-code") == (b"deadline_exceeded" if is_late else None)
    assert "ce_expirytime" not in dict(answer.headers)


def test_an_expiry_time_that_is_no_time_is_undecodable() -> None:
    answer = answer_to(structured(data=BODY, expirytime="soon"), STRUCTURED)
    assert dict(answer.headers)["error-code"] == b"undecodable"


def test_a_route_of_events_reads_them_without_a_content_type() -> None:
    answer = answer_to(structured(data=BODY), (), format="application/cloudevents+json")
    assert json.loads(answer.value)["type"] == "penstock.result"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([*ATTRIBUTES, "data", "data_base64", "expirytime", "x"]), JSON_VALUES))
def test_whatever_an_event_holds_it_is_answered_once(members: dict[str, Any]) -> None:
    for value in (structured(**members), json.dumps(members).encode()):
        assert json.loads(answer_to(value, STRUCTURED).value)["specversion"] == "1.0"


NAMES = st.sampled_from(["ce_id", "ce_type", "ce_specversion", "ce_expirytime"])


@given(st.binary(max_size=40), st.lists(st.tuples(NAMES, st.none() | st.binary(max_size=9))))
def test_whatever_the_headers_of_an_event_hold_it_is_answered_once(value: bytes, headers: Headers) -> None:
    answer = answer_to(value, headers)
    assert dict(answer.headers)["status"] == b"error"
