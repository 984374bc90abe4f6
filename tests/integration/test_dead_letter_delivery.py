"""Dead letters on a real Kafka: what goes out, and what happens where a topic does not take it."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewTopic,
    ResourcePatternType,
    ResourceType,
)

from connectors.kafka import KafkaConnector
from pipeline.connector import Answer, Record
from pipeline.dead_letters import headers
from pipeline.errors import ConnectorError, PenstockError
from pipeline.local.kafka import LocalKafka
from pipeline.records import Error
from pipeline.settings import DeadLetterSettings, RouteSettings
from pipeline.testing.connector_contract import never, poll_some

ERROR = Error("undecodable", "these bytes are no request", retriable=False)


class Place:
    """A route whose topics exist, except those that a test leaves out."""

    def __init__(self, bootstrap: str, name: str) -> None:
        self.kafka: dict[str, Any] = {"bootstrap.servers": bootstrap, "topic.metadata.propagation.max.ms": 300}
        self.route = RouteSettings(
            request_topic=f"{name}.q", result_topic=f"{name}.r", dead_letter_topic=f"dlq.{name}", group=name
        )
        self._open: list[KafkaConnector] = []

    def create(self, topic: str, partitions: int = 2, **config: str) -> None:
        new = NewTopic(topic, partitions, 1, config={key.replace("_", "."): value for key, value in config.items()})
        admin = AdminClient({"bootstrap.servers": self.kafka["bootstrap.servers"]})  # held: its futures fail with it
        admin.create_topics([new])[topic].result(30)

    def connector(self, **changes: Any) -> KafkaConnector:
        connector = KafkaConnector(self.changed(**changes), self.kafka, "penstock-w1-letters")
        connector.open()
        self._open.append(connector)
        return connector

    def changed(self, **changes: Any) -> RouteSettings:
        fields = {name: getattr(self.route, name) for name in self.route.__struct_fields__}
        return RouteSettings(**{**fields, **changes})

    def produce(self, value: bytes, **more: Any) -> None:
        producer = Producer({**self.kafka, "message.max.bytes": 2_000_000})
        producer.produce(self.route.request_topic, value, **more)
        assert producer.flush(30) == 0

    def letter(self, partition: int) -> Message:
        consumer = Consumer({**self.kafka, "group.id": "reader", "enable.auto.commit": False})
        consumer.assign([TopicPartition(self.route.dead_letter_topic, partition, 0)])
        [message] = consumer.consume(1, 20)
        consumer.close()
        return message

    def committed(self, partition: int) -> int:
        consumer = Consumer({**self.kafka, "group.id": self.route.group})
        [found] = consumer.committed([TopicPartition(self.route.request_topic, partition)], 10)
        consumer.close()
        return int(found.offset)

    def close(self) -> None:
        for connector in self._open:
            connector.close(5.0)


@pytest.fixture
def place(kafka: Any, topic_name: str) -> Iterator[Place]:
    it = Place(kafka.bootstrap, topic_name)
    it.create(it.route.request_topic)
    it.create(it.route.result_topic)
    yield it
    it.close()


def refused(record: Record) -> Answer:
    return Answer(b"error of " + record.value[:10], record.key, (), dead_letter=ERROR)


def test_a_dead_letter_has_the_sets_that_were_asked_for_and_the_bytes_of_its_request(place: Place) -> None:
    place.create(place.route.dead_letter_topic)
    connector = place.connector(dead_letters=DeadLetterSettings(headers="both"))
    own = [("a", b"\xfe"), ("a", None), ("penstock-attempt", b"3")]
    place.produce(b"\x00 garbage", key=b"\xff", partition=1, headers=own, timestamp=1_700_000_000_123)
    records = poll_some(connector)
    connector.answer(records, [refused(records[0])], never).result(20)

    letter = place.letter(1)
    assert (letter.value(), letter.key(), letter.partition()) == (b"\x00 garbage", b"\xff", 1)
    found = letter.headers()
    assert found[:3] == own
    said = dict(found[3:])
    assert said["kafka_dlt-original-topic"] == said["__connect.errors.topic"] == place.route.request_topic.encode()
    assert said["kafka_dlt-original-partition"] == struct.pack(">i", 1)
    assert said["kafka_dlt-original-offset"] == struct.pack(">q", 0)
    assert said["kafka_dlt-original-timestamp"] == struct.pack(">q", 1_700_000_000_123)
    assert said["kafka_dlt-original-timestamp-type"] == b"CreateTime"
    assert said["kafka_dlt-original-consumer-group"] == place.route.group.encode()
    assert (said["__connect.errors.partition"], said["__connect.errors.offset"]) == (b"1", b"0")
    assert said["__connect.errors.stage"] == b"VALUE_CONVERTER"
    assert said["penstock-error-class"] == b"unprocessable"
    assert (said["penstock-attempts"], said["penstock-worker"]) == (b"3", b"penstock-w1-letters")


def test_a_dead_letter_that_can_not_be_written_stops_the_route_and_nothing_is_committed(place: Place) -> None:
    """The topic does not exist; the next worker gets the request again."""
    connector = place.connector()
    place.produce(b"garbage", partition=0)
    records = poll_some(connector)
    delivery = connector.answer(records, [refused(records[0])], never)
    with pytest.raises(ConnectorError, match=f"topic {place.route.dead_letter_topic}: .*penstock topics"):
        delivery.result(30)
    connector.close(5.0)
    assert place.committed(0) <= 0
    place.create(place.route.dead_letter_topic)
    again = place.connector()
    records = poll_some(again)
    assert [record.value for record in records] == [b"garbage"]
    again.answer(records, [refused(records[0])], never).result(20)
    assert place.letter(0).value() == b"garbage"


@pytest.mark.slow
def test_a_dead_letter_topic_that_the_worker_may_not_write_to_stops_the_route_and_is_named(topic_name: str) -> None:
    """A Kafka that enforces ACLs, and allows all that they do not name."""
    authorizer = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    with LocalKafka(properties=authorizer) as guarded:
        place = Place(guarded.bootstrap, topic_name)
        for topic in (place.route.request_topic, place.route.result_topic, place.route.dead_letter_topic):
            place.create(topic)
        denied = AclBinding(
            ResourceType.TOPIC, place.route.dead_letter_topic, ResourcePatternType.LITERAL,
            "User:ANONYMOUS", "*", AclOperation.WRITE, AclPermissionType.DENY,
        )  # fmt: skip
        admin = AdminClient({"bootstrap.servers": guarded.bootstrap})
        admin.create_acls([denied])[denied].result(20)
        connector = place.connector()
        place.produce(b"garbage", partition=0)
        records = poll_some(connector)
        delivery = connector.answer(records, [refused(records[0])], never)
        with pytest.raises(ConnectorError, match=f"lacks the ACL Write on topic {place.route.dead_letter_topic}"):
            delivery.result(30)
        place.close()
        assert place.committed(0) <= 0


def test_a_dead_letter_that_is_larger_than_its_topic_takes_goes_without_its_value(place: Place) -> None:
    """And is followed by the neighbours that fit: the route goes on, the headers say where the request lies."""
    place.create(place.route.dead_letter_topic, max_message_bytes="3000")
    connector = place.connector()
    place.produce(b"x" * 2900, partition=1, key=b"k")
    records = poll_some(connector)
    connector.answer(records, [refused(records[0])], never).result(20)
    letter = place.letter(1)
    said = headers.read(letter.headers())
    assert (letter.value(), letter.key(), said.omitted_bytes) == (None, b"k", 2900)
    assert (said.topic, said.partition, said.offset) == (place.route.request_topic, 1, 0)


def test_a_dead_letter_may_be_larger_than_what_clients_send_by_default(place: Place) -> None:
    """A request just below the broker's limit of 1,048,588 bytes; librdkafka's own is a million."""
    place.create(place.route.dead_letter_topic, max_message_bytes="1200000")
    connector = place.connector()
    place.produce(b"x" * 1_048_000, partition=0)
    records = poll_some(connector)
    connector.answer(records, [refused(records[0])], never).result(20)
    assert place.letter(0).value() == b"x" * 1_048_000


def test_an_answer_that_the_broker_refuses_is_kept_where_its_error_is(place: Place) -> None:
    """Its reply partition does not exist; the error result and the dead letter take the answer's place."""
    place.create(place.route.dead_letter_topic)
    connector = place.connector(dead_letters=DeadLetterSettings(errors=("all",)))
    place.produce(b"request", partition=0)
    records = poll_some(connector)

    def refuse(record: Record, error: PenstockError) -> Answer:
        return Answer(b"refused", record.key, (), dead_letter=Error.of(error))

    connector.answer(records, [Answer(b"fine", None, (), partition=77)], refuse).result(30)
    assert headers.read(place.letter(0).headers()).code == "reply_refused"


def test_a_request_that_is_refused_twice_has_one_dead_letter_and_one_answer(place: Place) -> None:
    """Its bytes are at fault, and so is its reply partition."""
    place.create(place.route.dead_letter_topic)
    connector = place.connector()
    place.produce(b"garbage", partition=0)
    records = poll_some(connector)
    answers = [Answer(b"error", None, (), partition=77, dead_letter=ERROR)]
    connector.answer(records, answers, lambda record, _error: Answer(b"refused", record.key, ())).result(30)
    assert headers.read(place.letter(0).headers()).code == "undecodable"
