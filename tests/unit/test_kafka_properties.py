"""What each kind of Kafka client is told, below and above what the user says."""

from __future__ import annotations

from confluent_kafka import Consumer, Producer

from pipeline import kafka_properties


def test_a_transaction_ends_with_the_session_of_its_worker_unless_set():
    of = lambda **kafka: kafka_properties.transactional_producer(kafka, "c", "t")  # noqa: E731  # one line, used thrice
    assert of()["transaction.timeout.ms"] == 45_000
    assert of(**{"session.timeout.ms": 6000})["transaction.timeout.ms"] == 6000
    assert of(**{"session.timeout.ms": 6000, "transaction.timeout.ms": 9000})["transaction.timeout.ms"] == 9000


def test_librdkafka_takes_them():
    kafka = {"session.timeout.ms": 6000, "socket.timeout.ms": 5000, "log_level": 0}
    Producer(kafka_properties.transactional_producer(kafka, "c", "t", linger_ms=5))
    Consumer(kafka_properties.group_consumer(kafka, "c", "g", is_static=True)).close()


def test_a_transactional_id_is_never_shared():
    kafka = {"transactional.id": "mine"}
    assert "transactional.id" not in kafka_properties.producer(kafka, "c")
    assert kafka_properties.transactional_producer(kafka, "c", "t")["transactional.id"] == "t"


def test_readers_ask_for_what_is_committed_unless_told_otherwise():
    asked = [kafka_properties.reader({}, "c"), kafka_properties.group_consumer({}, "c", "g")]
    assert [properties["isolation.level"] for properties in asked] == ["read_committed"] * 2
    kafka = {"isolation.level": "read_uncommitted"}
    assert kafka_properties.reader(kafka, "c")["isolation.level"] == "read_uncommitted"


def test_a_static_member_has_the_name_of_its_client():
    assert kafka_properties.group_consumer({}, "c", "g", is_static=True)["group.instance.id"] == "c"
    assert "group.instance.id" not in kafka_properties.group_consumer({}, "c", "g")
