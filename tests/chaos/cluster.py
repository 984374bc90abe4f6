"""Three Kafka nodes, each behind a proxy: killed, cut off, and relieved of their leaderships, one at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from typing import Self

from aiokafka.client import AIOKafkaClient
from aiokafka.protocol.admin import AlterPartitionReassignmentsRequest
from confluent_kafka import ElectionType, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, PartitionMetadata

from pipeline.local.kafka import LocalKafka
from pipeline.local.ports import free_ports
from tests.acceptance.workers import wait_for
from tests.chaos.proxy import Cut, Proxy

NODES = 3
HEALING_S = 120.0
_REQUEST_TIMEOUT_MS = 30_000

Replicas = Mapping[tuple[str, int], Sequence[int]]


class Cluster:
    """A real Kafka whose clients and nodes reach every node through its proxy.

    Each method returns when what it says is so; they may be called from any thread, one at a time.
    """

    def __init__(self) -> None:
        ports = free_ports(NODES)
        # A node that is cut off leaves the in-sync replicas while the cut lasts, not half a minute later.
        properties = {"replica.lag.time.max.ms": "6000"}
        self._kafka = LocalKafka(nodes=NODES, advertised_ports=ports, properties=properties, start_timeout_s=HEALING_S)
        self._proxies = [Proxy(port, target) for port, target in zip(ports, self._kafka.ports, strict=True)]
        self._exits = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as exits:
            for proxy in self._proxies:
                exits.enter_context(proxy)
            exits.enter_context(self._kafka)
            self._admin = AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    @property
    def bootstrap(self) -> str:
        """The proxies' addresses."""
        return self._kafka.bootstrap

    def kill(self, node: int) -> None:
        """End a node as a power cut would."""
        self._kafka.nodes[node].kill()

    def cut(self, node: int, how: Cut) -> None:
        """Cut the network between a node and its clients, other nodes included; its controller's quorum stays."""
        self._proxies[node].cut(how)

    def heal(self) -> None:
        """Start what was killed, let through what was cut, and wait until every replica is in sync again."""
        for proxy in self._proxies:
            proxy.heal()
        self._kafka.start()
        wait_for("all replicas in sync", self._is_whole, timeout_s=HEALING_S, every_s=0.2)

    def move_leaders(self) -> None:
        """Give each partition, Kafka's own included, another leader; no node goes down for it."""
        before = self._partitions()
        wanted = {place: [*partition.replicas[1:], partition.replicas[0]] for place, partition in before.items()}
        asyncio.run(_reassign(self.bootstrap, wanted))
        places = [TopicPartition(topic, partition) for topic, partition in wanted]

        def moved() -> bool:
            with contextlib.suppress(KafkaException):
                self._admin.elect_leaders(ElectionType.PREFERRED, places).result(HEALING_S)
            now = self._partitions()
            return all(now[place].leader == replicas[0] for place, replicas in wanted.items() if place in now)

        wait_for("leaders moved", moved, timeout_s=HEALING_S, every_s=0.2)

    def _partitions(self) -> dict[tuple[str, int], PartitionMetadata]:
        try:
            topics = self._admin.list_topics(timeout=10).topics
        except KafkaException:  # the node that was asked is the one that is away
            return {}
        return {(name, number): one for name, topic in topics.items() for number, one in topic.partitions.items()}

    def _is_whole(self) -> bool:
        partitions = self._partitions().values()
        return bool(partitions) and all(
            one.leader != -1 and sorted(one.isrs) == sorted(one.replicas) for one in partitions
        )


async def _reassign(bootstrap: str, wanted: Replicas) -> None:
    """Order the replicas of partitions anew: the first is who should lead. The other client library can not ask
    this."""
    by_topic: dict[str, list[tuple[int, list[int], dict[int, bytes]]]] = {}
    for (topic, partition), replicas in wanted.items():
        by_topic.setdefault(topic, []).append((partition, list(replicas), {}))
    topics = [(topic, partitions, {}) for topic, partitions in by_topic.items()]
    client = AIOKafkaClient(bootstrap_servers=bootstrap.split(","), request_timeout_ms=_REQUEST_TIMEOUT_MS)
    await client.bootstrap()
    try:
        request = AlterPartitionReassignmentsRequest(_REQUEST_TIMEOUT_MS, topics, {})
        answer = await client.send(client.get_random_node(), request)
        refused = [
            (topic, partition, text)
            for topic, partitions, _ in answer.responses
            for partition, code, text, _ in partitions
            if code
        ]
        assert not answer.error_code, answer
        assert not refused, refused
    finally:
        await client.close()
