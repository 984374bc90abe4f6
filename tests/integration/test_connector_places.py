"""Where the Kafka connector's answers go, on a real Kafka: partitions that are new, and some that do not exist."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from connectors.kafka import KafkaConnector
from connectors.kafka.topic_sizes import TopicSizes
from pipeline import kafka_headers
from pipeline.connector import Answer, Record
from pipeline.control.topic_admin import alter, create_missing
from pipeline.control.topic_findings import Finding
from pipeline.control.topics import TopicSpec
from pipeline.errors import PenstockError, Undecodable
from pipeline.local.mock import MockKafka
from pipeline.records import Error
from pipeline.settings import RouteSettings
from pipeline.testing.connector_contract import poll_some
from tests.acceptance.reading import read
from tests.fuzz.raw_producer import produce
from tests.waiting import wait_for


@dataclass
class Place:
    """A route with topics of its own, two partitions each, and its connector."""

    bootstrap: str
    route: RouteSettings
    connector: KafkaConnector

    def ask(self, *values: bytes) -> list[Record]:
        """Return the requests as the connector has polled them."""
        producer = Producer({"bootstrap.servers": self.bootstrap})
        for value in values:
            producer.produce(self.route.request_topic, value, partition=1)
        assert producer.flush(20) == 0
        records = list(poll_some(self.connector))
        while len(records) < len(values):
            records += poll_some(self.connector)
        return records


@pytest.fixture
def place(kafka: Any) -> Iterator[Place]:
    name = f"places-{uuid.uuid4().hex[:10]}"
    route = RouteSettings(
        request_topic=f"{name}.q", result_topic=f"{name}.r", dead_letter_topic=f"{name}.d", group=name, max_wait_ms=200
    )
    # Slow, as librdkafka's own default is: nothing of this is to be found out by waiting.
    properties: dict[str, Any] = {"bootstrap.servers": kafka.bootstrap, "topic.metadata.refresh.interval.ms": 300_000}
    create_missing(properties, [TopicSpec(f"{name}.{kind}", 2, {}, "test") for kind in "qrd"])
    connector = KafkaConnector(route, properties, "places")
    connector.open()
    yield Place(kafka.bootstrap, route, connector)
    connector.close(10.0)


def refuse(record: Record, error: PenstockError) -> Answer:
    return Answer(f"refused {error.code}".encode(), record.key, ())


def test_an_answer_to_a_partition_that_was_added_a_moment_ago_goes_there(place: Place) -> None:
    [record] = place.ask(b"a")
    place.connector.answer([record], [Answer(b"a", None, ())], refuse).result(20)  # two partitions, as it knows now
    topic = place.route.result_topic
    alter({"bootstrap.servers": place.bootstrap}, [Finding(topic, "", "", partitions=4)])
    admin = AdminClient({"bootstrap.servers": place.bootstrap})
    wait_for("the broker knows it", lambda: len(admin.list_topics(timeout=10).topics[topic].partitions) == 4)
    [record] = place.ask(b"b")
    place.connector.answer([record], [Answer(b"b", None, (), partition=3)], refuse).result(20)
    found = {message.value(): message.partition() for message in read(place.bootstrap, place.route.result_topic, 2)}
    assert found == {b"a": 1, b"b": 3}


def test_a_dead_letter_whose_answer_goes_nowhere_is_a_dead_letter_with_an_answer(place: Place) -> None:
    """Neither waits for the other for ever."""
    records = place.ask(b"bad", b"good")
    error = Error("undecodable", "why", retriable=False)
    answers = [Answer(b"a", None, (), partition=77, dead_letter=error), Answer(b"b", None, ())]
    place.connector.answer(records, answers, refuse).result(20)
    values = {message.value() for message in read(place.bootstrap, place.route.result_topic, 2)}
    assert values == {b"refused reply_refused", b"b"}
    [letter] = read(place.bootstrap, place.route.dead_letter_topic, 1)
    assert letter.value() == b"bad"


def test_a_record_that_is_larger_than_librdkafka_sends_by_itself_is_dead_lettered(place: Place) -> None:
    """Java clients send 1 MiB, which a broker takes unless it is told otherwise."""
    large = {"bootstrap.servers": place.bootstrap, "message.max.bytes": 1_048_000}
    producer = Producer(large)
    producer.produce(place.route.request_topic, b"?" * 1_047_000, partition=1)
    assert producer.flush(20) == 0
    records = poll_some(place.connector)
    answer = Answer(b"a", None, (), dead_letter=Error("undecodable", "why", retriable=False))
    place.connector.answer(records, [answer], refuse).result(20)
    [letter] = read(place.bootstrap, place.route.dead_letter_topic, 1)
    assert len(letter.value()) == 1_047_000


def test_headers_with_a_name_that_is_not_utf8_are_said_to_be_unreadable_each_time() -> None:
    """Also in a loop that the interpreter has taken its short cuts in, where the client's exception gets lost."""
    count = 300
    with MockKafka() as mock:
        mock.create_topic("t")
        produce(mock.bootstrap, "t", 0, b"v", [b"mine", b"\xff"], count)
        produce(mock.bootstrap, "t", 0, b"v", [b"mine", "ü".encode()], 1)
        consumer = Consumer({"bootstrap.servers": mock.bootstrap, "group.id": "g", "log_level": 0})
        consumer.assign([TopicPartition("t", 0, 0)])
        unreadable, good = 0, []
        while unreadable + len(good) < count + 1:
            for message in consumer.consume(100, 1.0):
                try:
                    good.append(kafka_headers.of(message))
                except Undecodable:
                    unreadable += 1
                    with pytest.raises(Undecodable):  # once more
                        kafka_headers.of(message)
        consumer.close()
    assert (unreadable, good) == (count, [[("mine", b"v"), ("ü", b"v")]])


def test_a_record_with_such_a_header_is_refused_where_its_batch_is_looked_at_twice() -> None:
    """The first batch of a partition is marked before it is taken, together with what comes next."""
    with MockKafka() as mock:
        for topic in "qrd":
            mock.create_topic(topic)
        produce(mock.bootstrap, "q", 0, b"v", [b"mine", b"\xff"], 3)
        topics = {"request_topic": "q", "result_topic": "r", "dead_letter_topic": "d"}
        route = RouteSettings(servable="m", **topics, group="g", poison_after_kills=4)
        connector = KafkaConnector(route, {"bootstrap.servers": mock.bootstrap, "log_level": 0}, "w")
        connector.open()
        records = poll_some(connector)
        while len(records) < 3:
            records = [*records, *connector.poll(10, 0.1)]
        assert ["UTF-8" in record.fault for record in records] == [True] * 3
        assert [record.headers for record in records] == [()] * 3
        connector.close(0.1)


class Answering:
    """A producer whose broker says how many partitions there are, and counts how often it is asked."""

    def __init__(self, partitions: int) -> None:
        self.partitions, self.asked = partitions, 0

    def list_topics(self, topic: str, timeout: float) -> Any:
        del timeout
        self.asked += 1
        found = type("Found", (), {"partitions": dict.fromkeys(range(self.partitions)), "error": None})
        return type("Topics", (), {"topics": {topic: found}})


def test_the_broker_is_asked_again_only_for_a_partition_beyond_those_it_told_and_not_for_each_record() -> None:
    now_s = 100.0
    producer: Any = Answering(2)
    sizes = TopicSizes(producer, lambda: now_s)
    assert [sizes.of("t", partition) for partition in (0, 1, 0, 1)] == [2] * 4
    assert producer.asked == 1
    producer.partitions = 4
    assert [sizes.of("t", 3), sizes.of("t", 3)] == [4, 4]
    assert producer.asked == 2
    assert [sizes.of("t", 77) for _ in range(1000)] == [4] * 1000
    assert producer.asked == 3
    producer.partitions = 100
    assert sizes.of("t", 77) == 4  # asked a moment ago
    now_s += 1.0
    assert sizes.of("t", 77) == 100


@pytest.mark.parametrize("name", ["replies.\0x", "r" * 600, "", "a b"], ids=["a NUL", "too long", "empty", "a space"])
def test_a_name_that_no_topic_has_is_missing_without_asking(name: str) -> None:
    sizes = TopicSizes(Producer({}))  # librdkafka raises ValueError and RuntimeError for some of these
    assert sizes.is_missing(name)
    assert sizes.of(name, 0) == 0
