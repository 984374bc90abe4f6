"""A dead letter that its topic does not take goes out as a bare one, whatever of its request was large."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors.kafka.delivery import Delivery, Outbox
from connectors.kafka.refusals import Refusals
from pipeline.connector import Answer, Record
from pipeline.dead_letters import headers
from pipeline.errors import PenstockError
from pipeline.records import Error
from pipeline.settings import RouteSettings

ROUTE = RouteSettings(servable="m", result_topic="r", dead_letter_topic="d", group="g")
LIMIT_BYTES = 1_048_588  # message.max.bytes, unless set


class SmallTopics:
    """A producer whose broker takes records up to a size."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes | None, bytes | None, list[tuple[str, bytes | None]]]] = []

    def produce(self, topic: str, value: Any, key: Any, partition: int, on_delivery: Any, headers: Any = ()) -> None:
        del partition, on_delivery
        size_bytes = sum(len(name) + len(text or b"") for name, text in [*headers, ("", value), ("", key)])
        if size_bytes > LIMIT_BYTES:
            raise KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))
        self.sent.append((topic, value, key, list(headers)))

    def list_topics(self, topic: str, timeout: float) -> Any:
        del topic, timeout
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


@pytest.mark.parametrize("large", ["value", "headers", "key"])
def test_its_request_was_as_large_as_a_record_may_be(large: str) -> None:
    room = b"x" * (LIMIT_BYTES - 200)
    record = Record(
        room if large == "value" else b"?",
        room if large == "key" else b"k",
        [("mine", b"m"), ("large", room if large == "headers" else b"")],
        "q", 3, 7, 0,
    )  # fmt: skip
    producer, failures = SmallTopics(), []
    outbox = Outbox(producer, ROUTE, lambda: True, refusals=Refusals(ROUTE, {}))  # type: ignore[arg-type]  # as much of one as is used
    answer = Answer(b"an error", None, (), dead_letter=Error("undecodable", "no record", retriable=False))

    def refuse(_: Record, error: PenstockError) -> Answer:
        raise error

    Delivery(outbox, [record], [answer], refuse, lambda: None, failures.append).send(0)
    assert not failures
    (topic, value, key, found), result = producer.sent
    letter = headers.read(found)
    assert (topic, value, letter.code, letter.omitted_bytes) == ("d", None, "undecodable", len(record.value))
    assert (letter.topic, letter.partition, letter.offset) == ("q", 3, 7)
    assert ("mine", b"m") in letter.own
    assert key == (None if large == "key" else b"k")
    assert result[:2] == ("r", b"an error")
