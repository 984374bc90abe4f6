"""What is written on a dead letter can be read, and taken off again, whatever the request's own headers are."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pipeline.connector import Headers, Record
from pipeline.dead_letters import headers
from pipeline.dead_letters.headers import Reason
from pipeline.dead_letters.letters import DeadLetter
from pipeline.dead_letters.places import Offset
from pipeline.dead_letters.replay import obstacle
from pipeline.records import Error

NAMES = (
    st.sampled_from(["a", headers.CODE, headers.ATTEMPT, "kafka_dlt-original-topic", "penstock-attempts"]) | st.text()
)
OWN = st.lists(st.tuples(NAMES, st.none() | st.binary()), max_size=5)


def written(own: Headers = (), error: Error | None = None, sets: str = "spring", kills: int = 0) -> Headers:
    record = Record(b"value", None, own, "q", 3, 17, 1234, kills=kills)
    reason = Reason(error or Error("model_error", "why", retriable=False), "w", "g", 99)
    return headers.write(record, reason, sets)


@given(own=OWN, sets=st.sampled_from(["spring", "connect", "both"]))
def test_the_headers_of_the_request_are_first_and_come_off_untouched(own: Headers, sets: str) -> None:
    found = written(own, sets=sets)
    said = headers.read(found)
    assert list(said.own) == list(own) == list(found[: len(own)])
    assert (said.code, said.message, said.worker, said.at_ms) == ("model_error", "why", "w", 99)
    assert (said.topic, said.partition, said.offset) == ("q", 3, 17)
    again = headers.for_replay(said)
    assert [header for header in again if header[0] != headers.ATTEMPT] == [
        header for header in own if header[0] != headers.ATTEMPT
    ]


@given(st.lists(st.tuples(NAMES, st.none() | st.binary())))
def test_any_headers_can_be_read(found: Headers) -> None:
    headers.read(found)


def test_attempts_add_up_over_replays_and_kills() -> None:
    first = headers.read(written())
    assert first.attempts == 1
    second = headers.read(written(headers.for_replay(first)))
    assert second.attempts == 2
    assert headers.read(written(headers.for_replay(second), kills=3)).attempts == 5


def test_a_letter_of_spring_alone_is_understood() -> None:
    found = [("mine", b"1"), *((name, value) for name, value in written() if name.startswith("kafka_dlt-"))]
    said = headers.read(found)
    assert (said.own, said.message, said.topic, said.partition, said.offset) == ((("mine", b"1"),), "why", "q", 3, 17)


@pytest.mark.parametrize(
    ("code", "kind"), [("undecodable", b"unprocessable"), ("not_ready", b"failed"), ("x", b"failed")]
)
def test_what_is_the_requests_fault_is_told_from_what_has_failed(code: str, kind: bytes) -> None:
    assert dict(written(error=Error(code, "", retriable=False)))["penstock-error-class"] == kind


def test_a_long_reason_is_cut_between_characters() -> None:
    message = headers.read(written(error=Error("model_error", "ä" * 10_000, retriable=False))).message
    assert len(message.encode()) <= 4096
    assert message.endswith("ä...")


def test_headers_alone_do_not_send_a_request_to_any_topic() -> None:
    letter = DeadLetter(Offset(0, 0), 0, None, b"x", headers.read(written()))
    assert obstacle(letter, "", {"q"}.__contains__) == ""
    assert "no request topic" in obstacle(letter, "", {"p"}.__contains__)
    assert obstacle(letter, "r", {"p"}.__contains__) == ""
