"""A route's topics on a real Kafka, connectors on it, and members that answer as a worker does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.kafka import KafkaConnector
from pipeline.connector import Answer, Record
from pipeline.errors import ConnectorError, PenstockError
from pipeline.settings import RouteSettings
from tests import waiting

DEADLINE_S = 40.0
# A group takes its time to settle.
wait_for = partial(waiting.wait_for, timeout_s=DEADLINE_S)
# librdkafka says all that it sees; what the tests provoke is no news.
QUIET = {"log_level": 2}


def echo(record: Record) -> Answer:
    return Answer(record.value, record.key, ())


def refuse(record: Record, error: PenstockError) -> Answer:
    return Answer(b"refused " + error.code.encode(), record.key, ())


class KafkaRoute:
    """The topics of one route, with what went in and what came out."""

    def __init__(
        self,
        bootstrap: str,
        name: str,
        *,
        partitions: int = 1,
        result_config: Mapping[str, str] | None = None,
        **settings: Any,
    ) -> None:
        self.kafka: dict[str, Any] = {"bootstrap.servers": bootstrap, **QUIET}
        self.settings = RouteSettings(
            **{
                "servable": "echo",
                "request_topic": f"{name}.q",
                "result_topic": f"{name}.r",
                "dead_letter_topic": f"{name}.d",
                "group": name,
                **settings,
            }
        )
        self.admin = AdminClient(self.kafka)
        topics = [NewTopic(f"{name}.{kind}", partitions, 1) for kind in "qd"]
        topics.append(NewTopic(f"{name}.r", partitions, 1, config=dict(result_config or {})))
        for future in self.admin.create_topics(topics).values():
            future.result(30)
        # Idempotent, or a first request that meets a partition without a leader yet is overtaken by the second.
        self.producer = Producer({**self.kafka, "partitioner": "murmur2_random", "enable.idempotence": True})

    def connector(self, name: str, **kafka: Any) -> KafkaConnector:
        return KafkaConnector(self.settings, {**self.kafka, **kafka}, name)

    def produce(self, values: Sequence[bytes], key: bytes | None = None, partition: int = -1) -> None:
        """Append requests, where the key leads unless a partition is named."""
        for value in values:
            self.producer.produce(self.settings.request_topic, value, key, partition)
        assert self.producer.flush(30) == 0

    def committed(self, partition: int = 0) -> int:
        """Return the committed offset of a partition of the request topic, -1001 where there is none."""
        asked = ConsumerGroupTopicPartitions(
            self.settings.group, [TopicPartition(self.settings.request_topic, partition)]
        )
        found = self.admin.list_consumer_group_offsets([asked])[self.settings.group].result(20)
        return int(found.topic_partitions[0].offset)

    def read(self, topic: str | None = None, isolation: str = "read_committed") -> list[tuple[bytes | None, bytes]]:
        """Return key and value of all that a topic, the results' by default, holds now for a reader."""
        topic = topic or self.settings.result_topic
        consumer = Consumer(
            {**self.kafka, "group.id": "reader", "enable.partition.eof": True, "isolation.level": isolation}
        )
        numbers = consumer.list_topics(topic, 20).topics[topic].partitions
        left = set(numbers)
        consumer.assign([TopicPartition(topic, number, 0) for number in numbers])
        found: list[tuple[bytes | None, bytes]] = []
        deadline = time.monotonic() + DEADLINE_S
        while left:
            assert time.monotonic() < deadline, f"{topic} has no end"
            for message in consumer.consume(1000, 0.1):
                error = message.error()
                if error is None:
                    found.append((message.key(), message.value() or b""))
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition() or 0)
        consumer.close()
        return found

    def end(self, topic: str) -> int:
        """Return the offset after the last of a topic's one partition, markers counted."""
        consumer = Consumer({**self.kafka, "group.id": "reader"})
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, 0), timeout=20)
        consumer.close()
        return end

    def values(self, isolation: str = "read_committed") -> list[bytes]:
        return [value for _, value in self.read(isolation=isolation)]

    def wait_for_values(self, count: int) -> list[bytes]:
        """Return the committed results as soon as there are that many, or more."""
        found: list[bytes] = []

        def enough() -> bool:
            found[:] = self.values()
            return len(found) >= count

        wait_for(f"{count} results", enough)
        return found


class Member:
    """A worker's feeder and compute thread around a connector: what is polled is answered, in order."""

    def __init__(self, connector: KafkaConnector, answer: Callable[[Record], Answer] = echo, batch: int = 50) -> None:
        self._connector, self._answer, self._batch = connector, answer, batch
        self._slots = threading.Semaphore(4)
        self._stopping = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        self._feeder = threading.Thread(target=self._feed)
        self.taken = 0
        self.errors: list[BaseException] = []

    def start(self) -> Member:
        self._connector.open()
        self._feeder.start()
        return self

    def stop(self, timeout_s: float = 20.0) -> None:
        """Stop as a worker does: poll no more, let what is in flight be delivered, leave."""
        self._stopping.set()
        if self._feeder.ident is not None:
            self._feeder.join()
        self._pool.shutdown()
        self._connector.close(timeout_s)

    def _feed(self) -> None:
        try:
            while not self._stopping.is_set():
                if not self._slots.acquire(timeout=0.1):
                    self._connector.poll(0, 0.0)
                    continue
                records = self._connector.poll(self._batch, 0.1)
                if records:
                    self.taken += len(records)
                    self._pool.submit(self._compute, records)
                else:
                    self._slots.release()
        except ConnectorError as error:
            self.errors.append(error)

    def _compute(self, records: Sequence[Record]) -> None:
        try:
            answers = [self._answer(record) for record in records]
            self._connector.answer(records, answers, refuse).add_done_callback(self._delivered)
        except Exception as error:  # noqa: BLE001  # the test looks at it
            self.errors.append(error)

    def _delivered(self, done: Future[None]) -> None:
        error = done.exception()
        if error is not None:
            self.errors.append(error)
        self._slots.release()
