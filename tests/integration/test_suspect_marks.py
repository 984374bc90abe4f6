"""What stands beside committed offsets on a real Kafka, and what the next owner of a partition makes of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.kafka import KafkaConnector
from connectors.kafka.offsets import Partition, Spans
from connectors.kafka.suspects import Mark, Suspects, parse
from pipeline.connector import Record
from pipeline.settings import RouteSettings
from pipeline.testing.connector_contract import echo, never, poll_some


class Place:
    """A route with topics of some partitions, and what its group has committed."""

    def __init__(self, bootstrap: str, name: str, partitions: int = 2) -> None:
        self.kafka: dict[str, Any] = {"bootstrap.servers": bootstrap}
        self.route = RouteSettings(
            poison_after_kills=3,
            request_topic=f"{name}.q",
            result_topic=f"{name}.r",
            dead_letter_topic=f"{name}.d",
            group=name,
        )
        admin = AdminClient(self.kafka)
        for future in admin.create_topics([NewTopic(f"{name}.{kind}", partitions, 1) for kind in "qr"]).values():
            future.result(30)
        self._open: list[KafkaConnector] = []

    def connector(self) -> KafkaConnector:
        connector = KafkaConnector(self.route, self.kafka, "suspects")
        connector.open()
        self._open.append(connector)
        return connector

    def produce(self, count: int, partition: int = 0) -> None:
        producer = Producer(self.kafka)
        for n in range(count):
            producer.produce(self.route.request_topic, b"%d" % n, partition=partition)
        assert producer.flush(30) == 0

    def commit(self, mark: Mark) -> None:
        """Leave what an owner that was killed would have left."""
        consumer = Consumer({**self.kafka, "group.id": self.route.group})
        place = TopicPartition(self.route.request_topic, 0, mark.offset, str(mark))
        consumer.commit(offsets=[place], asynchronous=False)
        consumer.close()

    def mark(self, partition: int = 0) -> Mark:
        consumer = Consumer({**self.kafka, "group.id": self.route.group})
        [found] = consumer.committed([TopicPartition(self.route.request_topic, partition)], 10)
        consumer.close()
        return parse(found.offset, found.metadata)

    def close(self) -> None:
        for connector in self._open:
            connector.close(5.0)


@pytest.fixture
def place(kafka: Any, topic_name: str) -> Iterator[Place]:
    it = Place(kafka.bootstrap, topic_name)
    yield it
    it.close()


def answer(connector: KafkaConnector, records: list[Record]) -> None:
    connector.answer(records, echo(records), never).result(20)


def test_the_broker_knows_of_records_before_they_are_handed_out_and_of_a_leave_after_it(place: Place) -> None:
    connector = place.connector()
    place.produce(3)
    records = list(poll_some(connector))
    found = place.mark()
    assert (found.kind, found.offset) == ("working", 0)
    assert found.until > records[-1].offset
    answer(connector, records)
    connector.close(10.0)
    assert place.mark() == Mark("idle", records[-1].offset + 1)


def test_a_backlog_of_many_partitions_waits_for_few_marks(
    kafka: Any, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[int] = []
    take = Suspects.take

    def counting(self: Suspects, spans: Spans, ahead: Spans | None = None) -> dict[Partition, int]:
        due = take(self, spans, ahead)
        waited.append(len(due))
        return due

    monkeypatch.setattr(Suspects, "take", counting)
    partitions, each = 40, 50
    place = Place(kafka.bootstrap, topic_name, partitions)
    try:
        for partition in range(partitions):
            place.produce(each, partition)
        connector = place.connector()
        offsets: dict[int, list[int]] = {}
        while sum(map(len, offsets.values())) < partitions * each:
            records = list(poll_some(connector, each))
            for record in records:
                offsets.setdefault(record.partition, []).append(record.offset)
            answer(connector, records)
        assert offsets == {partition: list(range(each)) for partition in range(partitions)}
        assert sum(map(bool, waited)) < partitions / 2
        assert sum(waited) >= partitions
    finally:
        place.close()


def test_suspects_come_apart_from_all_others_and_one_that_has_killed_alone(place: Place) -> None:
    place.produce(8)
    place.commit(Mark("alone", 1, 4, 2))
    connector = place.connector()
    for offsets, kills, mark in (([1], 4, Mark("alone", 1, 4, 3, 2)), ([2, 3], 0, Mark("trying", 2, 4, 0, 4))):
        records = list(poll_some(connector))
        assert [(record.offset, record.kills) for record in records] == [(offset, kills) for offset in offsets]
        assert place.mark() == mark
        assert list(connector.poll(100, 0.1)) == []  # while they are in flight, nothing else is
        answer(connector, records)
    rest: list[Record] = []
    while len(rest) < 4:
        records = list(poll_some(connector))
        answer(connector, records)
        rest += records
    assert [(record.offset, record.kills) for record in rest] == [(4, 0), (5, 0), (6, 0), (7, 0)]
    connector.close(10.0)
    assert place.mark() == Mark("idle", 8)


def test_a_partition_that_moves_in_a_rebalance_has_no_suspects(place: Place) -> None:
    """A second worker comes; the first gives one partition away in good order, with nothing in flight."""
    one = place.connector()
    for partition in (0, 1):
        place.produce(5, partition)
    taken = 0
    while taken < 10:
        records = list(poll_some(one))
        answer(one, records)
        taken += len(records)
    two = place.connector()
    deadline_s = time.monotonic() + 30
    while len(one._tracker.assigned) != 1 or len(two._tracker.assigned) != 1:
        assert time.monotonic() < deadline_s
        for connector in (one, two):
            assert list(connector.poll(100, 0.1)) == []
    assert two._suspects.is_calm
    [(_, partition)] = two._tracker.assigned
    assert place.mark(partition) == Mark("idle", 5)
