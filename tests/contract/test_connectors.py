"""Every connector that comes with Penstock keeps the contract."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.kafka import KafkaConnector
from connectors.memory import MemoryBroker, MemoryConnector
from connectors.redis import RedisConnector
from pipeline.connector import Connector
from pipeline.redis_access import connect
from pipeline.settings import RedisRouteSettings, RedisSettings, RouteSettings
from pipeline.testing.connector_contract import BrokerUnderTest, ConnectorContract


class Memory:
    def __init__(self) -> None:
        self._broker = MemoryBroker()

    def connector(self) -> Connector:
        return MemoryConnector(self._broker)

    def produce(self, values: Sequence[bytes], key: bytes | None = b"key") -> None:
        for value in values:
            self._broker.produce(value, key)

    def results(self, count: int) -> list[bytes]:
        return [answer.value for _, answer in self._broker.wait_for_results(count)]

    def dead_letters(self, count: int) -> list[tuple[bytes, bytes | None]]:
        assert len(self._broker.dead_letters) >= count
        return [(record.value, record.key) for record, _ in self._broker.dead_letters]


class TestMemory(ConnectorContract):
    def make_broker(self) -> BrokerUnderTest:
        return Memory()


class Kafka:
    def __init__(self, bootstrap: str, guarantee: str = "at_least_once") -> None:
        self._kafka = {"bootstrap.servers": bootstrap}
        name = f"contract-{uuid.uuid4().hex[:10]}"
        self._route = RouteSettings(
            request_topic=f"{name}.q",
            result_topic=f"{name}.r",
            dead_letter_topic=f"{name}.d",
            group=name,
            guarantee=guarantee,
        )
        admin = AdminClient(self._kafka)
        topics = [NewTopic(f"{name}.{kind}", 1, 1) for kind in "qrd"]
        for future in admin.create_topics(topics).values():
            future.result(30)

    def connector(self) -> Connector:
        return KafkaConnector(self._route, dict(self._kafka), "contract")

    def produce(self, values: Sequence[bytes], key: bytes | None = b"key") -> None:
        producer = Producer(self._kafka)
        for value in values:
            producer.produce(self._route.request_topic, value, key)
        assert producer.flush(30) == 0

    def results(self, count: int) -> list[bytes]:
        return [value for value, _ in self._read(self._route.result_topic, count)]

    def dead_letters(self, count: int) -> list[tuple[bytes, bytes | None]]:
        return self._read(self._route.dead_letter_topic, count)

    def _read(self, topic: str, count: int) -> list[tuple[bytes, bytes | None]]:
        consumer = Consumer({**self._kafka, "group.id": "reader", "enable.auto.commit": False})
        consumer.assign([TopicPartition(topic, 0, 0)])
        found: list[tuple[bytes, bytes | None]] = []
        deadline = time.monotonic() + 20
        while len(found) < count and time.monotonic() < deadline:
            message = consumer.poll(0.5)
            if message is not None and message.error() is None:
                found.append((message.value() or b"", message.key()))
        consumer.close()
        if len(found) < count:
            raise TimeoutError(f"{len(found)} of {count} in {topic}")
        return found


class TestKafka(ConnectorContract):
    @pytest.fixture(autouse=True)
    def _kafka(self, kafka: object) -> None:
        self._bootstrap = kafka.bootstrap  # type: ignore[attr-defined]  # the fixture's class lives in conftest

    def make_broker(self) -> BrokerUnderTest:
        return Kafka(self._bootstrap)


class TestKafkaExactlyOnce(TestKafka):
    def make_broker(self) -> BrokerUnderTest:
        return Kafka(self._bootstrap, "exactly_once")


class Redis:
    def __init__(self, url: str, results: str = "stream") -> None:
        self._redis = RedisSettings(url=url)
        self._client = connect(self._redis, "contract")
        name = f"contract-{uuid.uuid4().hex[:10]}"
        self._route = RouteSettings(
            request_topic=f"{name}.q",
            result_topic=f"{name}.r",
            dead_letter_topic=f"{name}.d",
            group=name,
            redis=RedisRouteSettings(results=results),
        )

    def connector(self) -> Connector:
        return RedisConnector(self._route, self._redis, f"contract-{uuid.uuid4().hex[:10]}")

    def produce(self, values: Sequence[bytes], key: bytes | None = b"key") -> None:
        for value in values:
            self._client.xadd(self._route.request_topic, {"value": value} | ({} if key is None else {"key": key}))

    def results(self, count: int) -> list[bytes]:
        return [entry[b"value"] for entry in self._read(self._route.result_topic, count)]

    def dead_letters(self, count: int) -> list[tuple[bytes, bytes | None]]:
        return [(entry[b"value"], entry[b"key"]) for entry in self._read(self._route.dead_letter_topic, count)]

    def _read(self, topic: str, count: int) -> list[dict[bytes, bytes]]:
        deadline = time.monotonic() + 20
        while (found := self._client.xlen(topic)) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{found} of {count} in {topic}")
            time.sleep(0.02)
        return [entry for _, entry in self._client.xrange(topic)]


class TestRedis(ConnectorContract):
    @pytest.fixture(autouse=True)
    def _redis(self, redis: object) -> None:
        self._url = redis.url  # type: ignore[attr-defined]  # the fixture's class lives in conftest

    def make_broker(self) -> BrokerUnderTest:
        return Redis(self._url)


class TestValkey(ConnectorContract):
    @pytest.fixture(autouse=True)
    def _valkey(self, valkey: object) -> None:
        self._url = valkey.url  # type: ignore[attr-defined]  # the fixture's class lives in conftest

    def make_broker(self) -> BrokerUnderTest:
        return Redis(self._url)
