"""Requests at a steady pace and their results, by id: what was sent, answered, doubled, and by which version."""

from __future__ import annotations

import threading
import time
from collections import Counter
from typing import Self

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from pipeline.codecs.avro_codec import AvroCodec
from pipeline.records import PredictRequest, PredictResult
from pipeline.settings import RouteSettings
from pipeline.tensors import Tensor, from_array

CODEC = AvroCodec()


class Traffic:
    """Sends requests to a route on one thread and collects its results on another, until it is closed."""

    def __init__(
        self, bootstrap: str, route: RouteSettings, *, per_s: float = 500, tensor: Tensor | None = None
    ) -> None:
        self._bootstrap, self._route, self._per_s = bootstrap, route, per_s
        self._tensor = tensor or from_array("x", np.array([[1.0]], np.float32))
        self.sent: dict[str, float] = {}
        self.results: dict[str, list[tuple[float, PredictResult]]] = {}
        self._is_sending = threading.Event()
        self._is_over = threading.Event()
        self._is_sending.set()
        self._collector = threading.Thread(target=self._collect)
        self._sender = threading.Thread(target=self._send)
        self._reading = threading.Event()

    def __enter__(self) -> Self:
        self._collector.start()
        assert self._reading.wait(20)
        self._sender.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_sending.clear()
        self._is_over.set()
        self._sender.join()
        self._collector.join()

    def finish(self, timeout_s: float = 40.0) -> None:
        """Stop sending, and wait until each request has a result; what is missing then is for the test to say."""
        self._is_sending.clear()
        self._sender.join()
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and self.unanswered():
            time.sleep(0.05)

    def _answers(self) -> list[list[tuple[float, PredictResult]]]:
        return list(self.results.values())  # a copy: the collector goes on

    def unanswered(self) -> set[str]:
        return self.sent.keys() - self.results.keys()

    def doubled(self) -> int:
        return sum(len(answers) - 1 for answers in self._answers())

    def errors(self) -> list[PredictResult]:
        return [result for answers in self._answers() for _, result in answers if result.error is not None]

    def by_version(self) -> Counter[int | None]:
        return Counter(answers[0][1].version for answers in self._answers())

    def first_answer_of(self, version: int) -> float | None:
        times = [at for answers in self._answers() for at, result in answers if result.version == version]
        return min(times, default=None)

    def _send(self) -> None:
        producer = Producer({"bootstrap.servers": self._bootstrap, "linger.ms": 5, "partitioner": "murmur2_random"})
        started, count = time.monotonic(), 0
        while self._is_sending.is_set():
            while count < (time.monotonic() - started) * self._per_s:
                id_ = f"r{count}"
                value = CODEC.encode_request(PredictRequest(id_, inputs=(self._tensor,)))
                self.sent[id_] = time.time()
                producer.produce(self._route.request_topic, value, id_.encode())
                count += 1
            producer.poll(0.005)
        assert producer.flush(30) == 0

    def _collect(self) -> None:
        topic = self._route.result_topic
        consumer = Consumer({"bootstrap.servers": self._bootstrap, "group.id": "traffic", "enable.auto.commit": False})
        partitions = consumer.list_topics(topic, 20).topics[topic].partitions
        consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        self._reading.set()
        while not self._is_over.is_set():
            for message in consumer.consume(500, 0.1):
                if message.error() is None:
                    result = CODEC.decode_result(message.value() or b"")
                    at = message.timestamp()[1] / 1000
                    self.results.setdefault(result.id, []).append((at, result))
        consumer.close()
