"""The reader's decisions, turned step by step on a consumer that is not one."""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from pipeline.control.error_codes import PARTITION_EOF
from pipeline.control.kafka_log_reader import KafkaLogReader
from pipeline.errors import AccessDenied, ConnectorError

TRANSPORT = -195
ALL_BROKERS_DOWN = -187


class FakeMessage:
    def __init__(self, partition: int, offset: int, error: int | None = None) -> None:
        self._partition, self._offset = partition, offset
        self._error = None if error is None else KafkaError(error)

    def error(self) -> KafkaError | None:
        return self._error

    def partition(self) -> int:
        return self._partition

    def offset(self) -> int:
        return self._offset

    def key(self) -> bytes:
        return b"k%d" % self._offset

    def value(self) -> bytes:
        return b"v"


class FakeConsumer:
    """Has the partitions ``ends`` (end offset by number), delivers ``messages``, one a poll, and raises ``failure``."""

    def __init__(self) -> None:
        self.ends: dict[int, int] = {}
        self.messages: list[FakeMessage] = []
        self.failure: int | None = None
        self.assigned: list[int] = []
        self.is_closed = False
        self.error_cb: Any = None

    def list_topics(self, topic: str, _timeout_s: float) -> Any:
        if self.failure is not None:
            raise KafkaException(KafkaError(self.failure))
        error = None if self.ends else KafkaError(KafkaError.UNKNOWN_TOPIC_OR_PART)
        return SimpleNamespace(topics={topic: SimpleNamespace(partitions=dict(self.ends), error=error)})

    def get_watermark_offsets(self, place: Any, _timeout_s: float) -> tuple[int, int]:
        return 0, self.ends[place.partition]

    def incremental_assign(self, places: list[Any]) -> None:
        self.assigned += [place.partition for place in places]

    def poll(self, _timeout_s: float) -> FakeMessage | None:
        return self.messages.pop(0) if self.messages else None

    def consume(self, _count: int, _timeout_s: float) -> list[FakeMessage]:
        return []

    def close(self) -> None:
        self.is_closed = True


class Reading:
    def __init__(self, on_fatal: Callable[[Exception], object] = print) -> None:
        self.consumer = FakeConsumer()
        self.seen: list[tuple[int, int]] = []
        self.log = KafkaLogReader(
            {},
            "aspired",
            "w",
            on_record=lambda _key, _value, partition, offset: self.seen.append((partition, offset)),
            on_fatal=on_fatal,
            make_consumer=self._make,
        )

    def _make(self, properties: dict[str, Any]) -> FakeConsumer:
        self.consumer.error_cb = properties["error_cb"]
        return self.consumer

    def step(self) -> None:
        self.log._discover_at = 0.0  # as if the time had come
        self.log.step(0)


@pytest.fixture
def reading() -> Reading:
    return Reading()


def test_it_is_caught_up_when_every_partition_has_reached_its_end(reading: Reading) -> None:
    reading.consumer.ends = {0: 2, 1: 1, 2: 0}
    reading.consumer.messages = [FakeMessage(0, 0), FakeMessage(1, 0), FakeMessage(0, 1)]
    caught_up = []
    for _ in range(3):
        reading.step()
        caught_up.append(reading.log.caught_up.is_set())
    assert caught_up == [False, False, True]
    assert reading.seen == [(0, 0), (1, 0), (0, 1)]
    assert reading.consumer.assigned == [0, 1, 2]


def test_a_gap_before_the_end_is_passed(reading: Reading) -> None:
    reading.consumer.ends = {0: 5}
    reading.consumer.messages = [FakeMessage(0, 1), FakeMessage(0, 5, PARTITION_EOF)]
    reading.step()
    assert not reading.log.caught_up.is_set()
    reading.step()
    assert reading.log.caught_up.is_set()


def test_a_topic_that_is_missing_is_not_caught_up_and_is_logged_once(reading: Reading, caplog: Any) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            reading.step()
    assert not reading.log.caught_up.is_set()
    assert len(caplog.records) == 1
    assert "penstock topics --create" in str(reading.log.availability.problem)


def test_an_outage_and_its_end_are_logged_once_each(reading: Reading, caplog: Any) -> None:
    reading.consumer.ends = {0: 0}
    with caplog.at_level(logging.WARNING):
        reading.step()
        reading.consumer.failure = TRANSPORT
        reading.log._on_client_error(KafkaError(ALL_BROKERS_DOWN))
        for _ in range(3):
            reading.step()
        reading.consumer.failure = None
        reading.step()
    assert [record.message.split(": ")[1] for record in caplog.records] == [
        "no broker answers at localhost:9092; waiting",
        "can be read again",
    ]


def test_one_broker_of_several_that_is_away_is_not_logged(reading: Reading, caplog: Any) -> None:
    reading.consumer.ends = {0: 0}
    reading.step()
    reading.log._on_client_error(KafkaError(TRANSPORT))
    assert not caplog.records


def test_a_partition_that_is_added_later_is_read_and_leaves_it_caught_up(reading: Reading) -> None:
    reading.consumer.ends = {0: 0}
    reading.step()
    reading.consumer.ends = {0: 0, 1: 7}
    reading.step()
    assert reading.consumer.assigned == [0, 1]
    assert reading.log.caught_up.is_set()


def test_a_missing_permission_is_fatal_and_named(reading: Reading) -> None:
    reading.consumer.failure = KafkaError.TOPIC_AUTHORIZATION_FAILED
    with pytest.raises(ConnectorError, match="lacks the ACL Read on topic aspired"):
        reading.step()


def test_a_fatal_error_on_the_thread_is_handed_over_and_the_consumer_closed() -> None:
    errors: list[Exception] = []
    reading = Reading(errors.append)
    reading.consumer.failure = KafkaError.TOPIC_AUTHORIZATION_FAILED
    reading.log.start()
    reading.log._thread.join(5)
    assert [type(error) for error in errors] == [AccessDenied]
    assert reading.consumer.is_closed


def test_stopping_what_was_never_started_is_no_error(reading: Reading) -> None:
    reading.log.stop()
    reading.log.stop()
