"""A topic with requests on a real Kafka, and the group that reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from connectors.kafka import KafkaConnector
from pipeline.records import PredictRequest
from pipeline.settings import RouteSettings
from pipeline.tensors import from_array
from tests.unit.running_route import CODEC

PARTITIONS = 4
POLL_INTERVAL_S = 6.0


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
