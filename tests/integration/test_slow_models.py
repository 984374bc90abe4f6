"""A model slower than the poll interval costs no rebalance, on a real Kafka, and nothing is taken meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from connectors.kafka import KafkaConnector
from pipeline.records import PredictRequest
from pipeline.settings import RouteSettings
from pipeline.tensors import Array, from_array
from pipeline.testing.connector_contract import echo, never
from pipeline.testing.fakes import AddingServable
from pipeline.testing.repeated import repeated
from tests.integration.members import wait_for
from tests.unit.test_agents import CODEC, Stage

PARTITIONS = 4
POLL_INTERVAL_S = 6.0
DEADLINE_S = 60.0


class Place:
    """A topic with requests, and the group that reads it."""

    def __init__(self, bootstrap: str, name: str, **route: Any) -> None:
        self.kafka = {"bootstrap.servers": bootstrap}
        self.route = RouteSettings(
            servable="adder", request_topic=f"{name}.q", result_topic=f"{name}.r", group=name, **route
        )
        self.admin = AdminClient(self.kafka)
        large = {"max.message.bytes": "10000000"}
        topics = [NewTopic(f"{name}.q", PARTITIONS, 1, config=large), NewTopic(f"{name}.r", PARTITIONS, 1)]
        for future in self.admin.create_topics(topics).values():
            future.result(30)

    def produce(self, count: int) -> None:
        producer = Producer(self.kafka)
        for number in range(count):
            request = PredictRequest(str(number), inputs=(from_array("x", np.ones((1, 2), np.float32)),))
            producer.produce(self.route.request_topic, CODEC.encode_request(request), partition=number % PARTITIONS)
        assert producer.flush(30) == 0

    def connector(self, client_id: str) -> KafkaConnector:
        interval = {"max.poll.interval.ms": int(1000 * POLL_INTERVAL_S), "session.timeout.ms": 6000}
        return KafkaConnector(self.route, {**self.kafka, **interval}, client_id)

    def members(self) -> dict[str, int]:
        """Return how many partitions each member of the group has, once the group has settled."""
        [future] = self.admin.describe_consumer_groups([self.route.group]).values()
        group = future.result(30)
        if group.state is not ConsumerGroupState.STABLE:
            return {}
        return {it.member_id: len(it.assignment.topic_partitions) for it in group.members}

    def committed(self) -> int:
        parts = [TopicPartition(self.route.request_topic, p) for p in range(PARTITIONS)]
        [future] = self.admin.list_consumer_group_offsets(
            [ConsumerGroupTopicPartitions(self.route.group, parts)]
        ).values()
        return sum(max(0, it.offset) for it in future.result(30).topic_partitions)

    def results(self) -> int:
        wanted = {TopicPartition(self.route.result_topic, p): OffsetSpec.latest() for p in range(PARTITIONS)}
        return sum(future.result(30).offset for future in self.admin.list_offsets(wanted).values())


class Slow(AddingServable):
    """Its first call takes as long as it is told to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.is_called, self.may_return = threading.Event(), threading.Event()

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        self.is_called.set()
        assert self.may_return.wait(DEADLINE_S)
        return super().predict(signature, inputs)


def test_a_call_that_takes_longer_than_the_poll_interval_costs_no_rebalance_and_loses_nothing(kafka, topic_name):
    place = Place(kafka.bootstrap, topic_name, max_batch_size=2, max_batches_in_flight=2)
    place.produce(40)
    slow = Slow()
    with Stage(place.connector("one"), place.route, slow) as stage:
        assert slow.is_called.wait(DEADLINE_S)
        before = wait_for("one member with all partitions", place.members)
        called_s = time.monotonic()
        wait_for("twice the poll interval is over", lambda: time.monotonic() > called_s + 1.7 * POLL_INTERVAL_S)
        assert place.members() == before
        slow.may_return.set()
        wait_for("every request committed", lambda: place.committed() == 40)
        assert place.members() == before
        assert not stage.crashes
        assert stage.route.stop(20)
    assert place.results() == 40


@contextmanager
def polling(connector: KafkaConnector, records: int) -> Iterator[list[Any]]:
    """Poll on a thread of its own, as a feeder does, and answer what comes.

    Yields what came, or a None for each poll of none.
    """
    seen = []

    def poll() -> None:
        got = connector.poll(records, 0.05)
        if not records:
            seen.append(None)
        elif got:
            seen.extend((record.partition, record.offset) for record in got)
            connector.answer(got, echo(got), never)

    with repeated(poll):
        yield seen


def test_partitions_that_come_to_a_route_which_takes_nothing_are_paused_from_the_start(kafka, topic_name):
    """Two members, one of them full: the other leaves, and the full one gets its partitions, but not their records."""
    place = Place(kafka.bootstrap, topic_name)
    full, other = place.connector("full"), place.connector("other")
    full.open()
    other.open()
    try:
        with polling(full, 0) as polls:
            with polling(other, 0):
                wait_for("two partitions each", lambda: sorted(place.members().values()) == [2, 2])
            other.close(5)
            wait_for("all partitions", lambda: [*place.members().values()] == [PARTITIONS])
            place.produce(40)
            since = len(polls)
            wait_for("more polls of a route that takes nothing", lambda: len(polls) >= since + 30)
            assert not full._intake._kept
        with polling(full, 100) as seen:
            wait_for("all that was waiting", lambda: len(seen) == 40)
        assert sorted(seen) == sorted((n % PARTITIONS, n // PARTITIONS) for n in range(40))
    finally:
        full.close(5)
        other.close(5)
