"""What is lost, doubled or hidden elsewhere, seen on MLServer's Kafka server 1.7.1 with the same procedures.

There two replicas turned 500 requests into 1,000 results, requests sent while the server was down were never answered,
a kill lost the backlog, and malformed and header-less requests left no trace on any topic. Requests are the JSON that
such a server's users send, and each is known by its key.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, Self

from confluent_kafka import Consumer, Producer, TopicPartition

from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.records import PredictResult
from pipeline.settings import RouteSettings
from tests.acceptance.conftest import Deploy
from tests.acceptance.reading import lag
from tests.acceptance.workers import Deployment, wait_for

REQUEST = json.dumps({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [2]}]}).encode()
HEADERS: list[tuple[str, str | bytes | None]] = [("mlserver-model", b"factor")]


def send(it: Deployment, route: RouteSettings, keys: list[str], value: bytes = REQUEST, headers: Any = HEADERS) -> None:
    producer = Producer({"bootstrap.servers": it.bootstrap, "linger.ms": 5})
    for key in keys:
        producer.produce(route.request_topic, value, key, headers=headers)
        producer.poll(0)
    assert producer.flush(30) == 0


class Topic:
    """What lies in a topic, by key."""

    def __init__(self, it: Deployment, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": it.bootstrap, "group.id": "reader", "log_level": 0})
        parts = self._consumer.list_topics(topic, 20).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, part, 0) for part in parts])
        self.values: dict[str, list[bytes]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def read(self, timeout_s: float = 0.1) -> None:
        for message in self._consumer.consume(5000, timeout_s):
            assert message.error() is None
            self.values.setdefault((message.key() or b"").decode(), []).append(message.value() or b"")

    def wait_for(self, keys: list[str]) -> None:
        wait_for(f"{len(keys)} keys", lambda: self.read() or len(self.values.keys() & set(keys)) == len(keys))

    def results(self) -> list[PredictResult]:
        avro, json_codec = AvroCodec(), V2JsonCodec()
        found = [value for values in self.values.values() for value in values]
        return [(avro if avro.recognises(value) else json_codec).decode_result(value) for value in found]


def test_two_workers_answer_each_request_once_and_nothing_bad_goes_without_a_trace(deploy: Deploy) -> None:
    """A record without any header, and without a name in its body, is for the servable of its route."""
    it = deploy()
    route = it.settings.routes["factor"]
    it.drop("factor", 1, {"factor": b"10"})
    it.watcher()
    for worker in [it.worker("one"), it.worker("two")]:
        worker.wait_until_ready()
    plain = [f"plain {n}" for n in range(500)]
    bare = [f"bare {n}" for n in range(50)]
    bad = [f"bad {n}" for n in range(50)]
    send(it, route, plain)
    send(it, route, bare, headers=None)
    send(it, route, bad, b'{"inputs": [')
    with Topic(it, route.result_topic) as results, Topic(it, route.dead_letter_topic) as letters:
        results.wait_for([*plain, *bare, *bad])
        letters.wait_for(bad)
        # Both have acknowledged all: whoever was to answer has answered, and no second answer can follow.
        wait_for("both workers done", lambda: lag(it.bootstrap, route) == 0, every_s=0.2)
        results.read(1.0)
        assert {key: len(values) for key, values in results.values.items() if len(values) > 1} == {}
        found = Counter((result.error and result.error.code, result.id in bad) for result in results.results())
        assert found == {(None, False): 550, ("undecodable", True): 50}
        assert letters.values == {key: [b'{"inputs": ['] for key in bad}


def test_what_was_sent_while_no_worker_ran_and_what_a_killed_one_left_is_answered_by_the_next(deploy: Deploy) -> None:
    it = deploy(routes={"factor": {"max_batch_size": 4}})  # so that the backlog outlives the kill
    route = it.settings.routes["factor"]
    it.drop("factor", 1, {"factor": b"10"})
    before = [f"before {n}" for n in range(300)]
    send(it, route, before)
    backlog = [f"backlog {n}" for n in range(1500)]
    with Topic(it, route.result_topic) as results:
        first = it.worker("one", "--watch").wait_until_ready()
        results.wait_for(before)
        send(it, route, backlog)
        wait_for("some of the backlog", lambda: results.read() or len(results.values) > len(before) + 50)
        first.kill()
        results.read(1.0)
        left = set(backlog) - results.values.keys()
        assert left, "the kill came too late to lose anything"
        send(it, route, ["while it was down"])
        it.worker("two", "--watch").wait_until_ready()
        results.wait_for([*before, *backlog, "while it was down"])
        assert all(result.error is None for result in results.results())
