"""What the Kafka connector commits, and when: behind the answers that the broker has accepted, and no further."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer

from connectors.kafka import KafkaConnector, connector as connector_of_kafka
from pipeline.connector import Record
from pipeline.local.kafka import LocalKafka
from pipeline.testing.connector_contract import echo, never, poll_some
from pipeline.testing.repeated import repeated
from tests.integration.members import KafkaRoute, wait_for

DEADLINE_S = 40.0


@pytest.fixture
def route(kafka: Any, topic_name: str) -> KafkaRoute:
    """Every record is a batch."""
    return KafkaRoute(kafka.bootstrap, topic_name, partitions=2, max_batch_size=1, revoke_timeout_s=1.0)


def committed(route: KafkaRoute) -> list[int]:
    """The offset of each partition from which a new worker would go on; 0 where none was committed."""
    return [max(0, route.committed(partition)) for partition in range(2)]


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


@contextmanager
def polling(connector: KafkaConnector) -> Iterator[list[Record]]:
    """Poll as another worker of the group, that answers nothing; yield what comes."""
    got: list[Record] = []
    with repeated(lambda: got.extend(connector.poll(100, 0.05))):
        yield got


class Lingering:
    """A producer that lets answers linger although it is asked to send them at once."""

    def __init__(self, producer: Producer) -> None:
        self._producer = producer
        self.poll = self.flush = producer.poll

    def __len__(self) -> int:
        return len(self._producer)


def test_nothing_is_committed_before_the_broker_has_accepted_the_answer(route, close):
    connector = close(route.connector("one", **{"linger.ms": 3_000}))
    connector._guarantee._producer = Lingering(connector._guarantee._producer)
    route.produce([b"a"], partition=0)
    records = poll_some(connector)
    delivery = connector.answer(records, echo(records), never)
    looks = 0
    while not delivery.done():  # it lingers in the client; many intervals of the commit pass meanwhile
        connector.poll(100, 0.05)
        offsets = committed(route)
        if not delivery.done():
            assert offsets == [0, 0]
            looks += 1
    assert looks > 1
    poll_until(connector, lambda: committed(route) == [1, 0])


def test_a_revoked_partition_is_let_go_behind_its_last_answer_and_what_was_in_flight_there_comes_again(route, close):
    """The model takes longer than a rebalance may wait for it."""
    first = close(route.connector("one"))
    for partition in range(2):
        route.produce([b"answered"], partition=partition)
        records = poll_some(first)
        first.answer(records, echo(records), never).result(DEADLINE_S)
    for partition in range(2):
        route.produce([b"in flight"], partition=partition)
        poll_some(first)
    with polling(close(route.connector("two"))) as got:
        poll_until(first, lambda: bool(got))
    assert [(record.value, record.offset) for record in got] == [(b"in flight", 1)]


def test_a_rebalance_waits_for_the_answers_in_flight_so_that_nothing_comes_again(route, close):
    first = close(route.connector("one"))
    batches = []
    for partition in range(2):
        route.produce([b"in flight"], partition=partition)
        batches.append(poll_some(first))
    is_revoking = threading.Event()
    wait_for_answers = first._assignment._wait_for_answers

    def noticed(*arguments: Any) -> bool:
        is_revoking.set()
        return wait_for_answers(*arguments)

    first._assignment._wait_for_answers = noticed

    def answer() -> None:
        """As a worker thread does while the feeder's is held in the rebalance."""
        assert is_revoking.wait(DEADLINE_S)
        for records in batches:
            first.answer(records, echo(records), never)

    worker = threading.Thread(target=answer)
    worker.start()
    with polling(close(route.connector("two"))) as got:
        poll_until(first, lambda: committed(route) == [1, 1])
        route.produce([b"next"], partition=0)
        route.produce([b"next"], partition=1)
        poll_until(first, lambda: bool(got))
    assert [(record.value, record.offset) for record in got] == [(b"next", 1)]
    worker.join()


def test_a_worker_that_ends_commits_once_and_before_it_leaves_its_group(route, monkeypatch):
    """In the middle of leaving the client may abort over the outcome of a commit."""
    calls = []

    class Counting(Consumer):
        def commit(self, *arguments: Any, **options: Any) -> Any:
            calls.append("commit")
            return super().commit(*arguments, **options)

        def close(self) -> None:
            calls.append("close")
            super().close()

    monkeypatch.setattr(connector_of_kafka, "Consumer", Counting)
    worker = route.connector("one")
    worker.open()
    route.produce([b"a"], partition=0)
    records = poll_some(worker)
    worker.answer(records, echo(records), never).result(20)
    calls.clear()
    worker.close(5)
    assert calls == ["commit", "close"]
    assert committed(route) == [1, 0]


def test_exactly_once_an_answer_that_is_seen_is_committed(kafka, topic_name, close):
    route = KafkaRoute(kafka.bootstrap, topic_name, guarantee="exactly_once")
    connector = close(route.connector("one"))
    route.produce([b"%d" % n for n in range(10)], b"key")
    answered = 0
    while answered < 10:
        records = connector.poll(1, 0.05)
        seen = len(route.values())
        assert seen <= max(0, route.committed())
        if records:
            connector.answer(records, echo(records), never)
            answered += len(records)
    connector.close(DEADLINE_S)
    assert (len(route.values()), route.committed()) == (10, route.end(route.settings.request_topic))


def test_a_broker_that_does_not_answer_holds_up_the_end_no_longer_than_it_may_take(topic_name, monkeypatch):
    """It stands still, so that a connection to it is neither refused nor closed."""
    monkeypatch.setattr(connector_of_kafka, "_LEAVING_S", 0.5)
    with LocalKafka() as kafka:
        route = KafkaRoute(kafka.bootstrap, topic_name)
        connector = route.connector("one")
        connector.open()
        route.produce([b"a"])
        records = poll_some(connector)
        connector.answer(records, echo(records), never).result(DEADLINE_S)
        pid = kafka.nodes[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGSTOP)
        try:
            closing = threading.Thread(target=connector.close, args=(0.5,), daemon=True)
            closing.start()
            closing.join(DEADLINE_S)
            assert not closing.is_alive()
        finally:
            os.kill(pid, signal.SIGCONT)
        name = f"{route.settings.group}-leaving"
        wait_for("the group is left", lambda: name not in [thread.name for thread in threading.enumerate()])
