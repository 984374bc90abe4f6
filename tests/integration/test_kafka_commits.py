"""What the Kafka connector commits, and when: behind the answers that the broker has accepted, and no further."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, NewTopic, ResourceType

from connectors.kafka import KafkaConnector, connector as connector_module
from pipeline.connector import Record
from pipeline.settings import RouteSettings
from pipeline.testing.connector_contract import echo, never, poll_some

DEADLINE_S = 40.0


class Log:
    """One route on a real Kafka, whose broker can be told to accept no answers for a while."""

    def __init__(self, bootstrap: str, name: str) -> None:
        self._kafka: dict[str, Any] = {"bootstrap.servers": bootstrap}
        self.route = RouteSettings(
            request_topic=f"{name}.q", result_topic=f"{name}.r", dead_letter_topic=f"{name}.d", group=name
        )
        self._admin = AdminClient(self._kafka)
        for future in self._admin.create_topics([NewTopic(f"{name}.{kind}", 2, 1) for kind in "qrd"]).values():
            future.result(30)

    def connector(self) -> KafkaConnector:
        return KafkaConnector(self.route, dict(self._kafka), "commits")

    def produce(self, partition: int, *values: bytes) -> None:
        producer = Producer(self._kafka)
        for value in values:
            producer.produce(self.route.request_topic, value, partition=partition)
        assert producer.flush(30) == 0

    def accept_answers(self, *, is_accepting: bool) -> None:
        """There is one copy of the topic: when it wants two, the broker asks producers to try again later."""
        entry = ConfigEntry(
            "min.insync.replicas", "1" if is_accepting else "2", incremental_operation=AlterConfigOpType.SET
        )
        resource = ConfigResource(ResourceType.TOPIC, self.route.result_topic, incremental_configs=[entry])
        self._admin.incremental_alter_configs([resource])[resource].result(30)

    def committed(self) -> list[int]:
        """The offset of each partition from which a new worker would go on; 0 where none was committed."""
        consumer = Consumer({**self._kafka, "group.id": self.route.group})
        try:
            places = [TopicPartition(self.route.request_topic, partition) for partition in range(2)]
            return [max(0, place.offset) for place in consumer.committed(places, 30)]
        finally:
            consumer.close()


@pytest.fixture
def log(kafka: Any, topic_name: str) -> Log:
    return Log(kafka.bootstrap, topic_name)


@pytest.fixture
def close() -> Iterator[Callable[[KafkaConnector], KafkaConnector]]:
    """Close connectors at the end, with no patience for what is in flight."""
    opened: list[KafkaConnector] = []

    def open_(it: KafkaConnector) -> KafkaConnector:
        it.open()
        opened.append(it)
        return it

    yield open_
    for it in opened:
        it.close(0.2)


def poll_until(connector: KafkaConnector, condition: Callable[[], bool]) -> list[Record]:
    """Poll, as a feeder does, until something holds; return what came meanwhile."""
    got: list[Record] = []
    deadline_s = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline_s, got
        got += connector.poll(100, 0.05)
    return got


class Successor:
    """Another worker of the group, that polls on a thread of its own and answers nothing."""

    def __init__(self, connector: KafkaConnector) -> None:
        self.got: list[Record] = []
        self._connector = connector
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._poll)

    def __enter__(self) -> Successor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _poll(self) -> None:
        while not self._is_over.is_set():
            self.got += self._connector.poll(100, 0.05)


def test_nothing_is_committed_before_the_broker_has_accepted_the_answer(log, close):
    log.accept_answers(is_accepting=False)
    connector = close(log.connector())
    log.produce(0, b"a")
    records = poll_some(connector)
    delivery = connector.answer(records, echo(records), never)
    # The broker refuses each try; several intervals of the commit pass meanwhile.
    turns = iter(range(20))
    poll_until(connector, lambda: next(turns, None) is None)
    assert not delivery.done()
    assert log.committed() == [0, 0]
    log.accept_answers(is_accepting=True)
    poll_until(connector, delivery.done)
    poll_until(connector, lambda: log.committed() == [1, 0])


def test_a_revoked_partition_is_let_go_behind_its_last_answer_and_what_was_in_flight_there_comes_again(
    log, close, monkeypatch
):
    """The broker accepts no answers for longer than a rebalance may wait for them."""
    monkeypatch.setattr(connector_module, "_REVOKE_BUDGET_S", 0.5)
    first = close(log.connector())
    for partition in range(2):
        log.produce(partition, b"answered")
    got = 0
    while got < 2:
        records = poll_some(first)
        poll_until(first, first.answer(records, echo(records), never).done)
        got += len(records)
    log.accept_answers(is_accepting=False)
    for partition in range(2):
        log.produce(partition, b"in flight")
    got = 0
    while got < 2:
        records = poll_some(first)
        first.answer(records, echo(records), never)
        got += len(records)
    with Successor(close(log.connector())) as second:
        poll_until(first, lambda: bool(second.got))
    assert [(record.value, record.offset) for record in second.got] == [(b"in flight", 1)]
    log.accept_answers(is_accepting=True)


def test_a_rebalance_waits_for_the_answers_in_flight_so_that_nothing_comes_again(log, close):
    first = close(log.connector())
    for partition in range(2):
        log.produce(partition, b"in flight")
    batches = []
    while sum(map(len, batches)) < 2:
        batches.append(poll_some(first))
    is_revoking = threading.Event()
    wait_for_answers = first._wait_for_answers

    def noticed(*arguments: Any) -> bool:
        is_revoking.set()
        return wait_for_answers(*arguments)

    first._wait_for_answers = noticed

    def answer() -> None:
        """As a worker thread does while the feeder's is held in the rebalance."""
        assert is_revoking.wait(DEADLINE_S)
        for records in batches:
            first.answer(records, echo(records), never)

    worker = threading.Thread(target=answer)
    worker.start()
    with Successor(close(log.connector())) as second:
        poll_until(first, lambda: not worker.is_alive() and sorted(log.committed()) == [1, 1])
        log.produce(0, b"next")
        log.produce(1, b"next")
        poll_until(first, lambda: bool(second.got))
    assert [(record.value, record.offset) for record in second.got] == [(b"next", 1)]
    worker.join()
