"""librdkafka's mock cluster: what it can do is what the demo and fast tests rely on."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from pipeline.local.errors import LocalBrokerError
from pipeline.local.mock import MockKafka


def consume_one(bootstrap: str, topic: str, group: str = "one") -> bytes:
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": group, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    try:
        message = consumer.poll(20)
        assert message is not None
        return message.value()
    finally:
        consumer.close()


def test_what_another_process_produces_is_consumed_here(topic_name):
    script = """
import sys
from confluent_kafka import Producer
producer = Producer({"bootstrap.servers": sys.argv[1]})
producer.produce(sys.argv[2], b"from elsewhere")
sys.exit(producer.flush(20))
"""
    with MockKafka() as mock:
        mock.create_topic(topic_name)
        subprocess.run([sys.executable, "-c", script, mock.bootstrap, topic_name], check=True)
        assert consume_one(mock.bootstrap, topic_name) == b"from elsewhere"


def test_a_topic_has_the_partitions_it_was_created_with(topic_name):
    with MockKafka(brokers=2) as mock:
        mock.create_topic(topic_name, partitions=7)
        metadata = AdminClient({"bootstrap.servers": mock.bootstrap}).list_topics(topic_name, timeout=20)
        assert len(metadata.topics[topic_name].partitions) == 7
        assert len(metadata.brokers) == 2


def test_a_topic_is_created_once(topic_name):
    with MockKafka() as mock:
        mock.create_topic(topic_name)
        with pytest.raises(LocalBrokerError, match=f"{topic_name} exists"):
            mock.create_topic(topic_name)


def test_a_group_of_one_does_not_wait_for_more_members(topic_name):
    with MockKafka() as mock:
        mock.create_topic(topic_name)
        producer = Producer({"bootstrap.servers": mock.bootstrap})
        producer.produce(topic_name, b"x")
        assert producer.flush(20) == 0
        took_s = []
        for group in ("one", "two", "three"):
            start = time.monotonic()
            assert consume_one(mock.bootstrap, topic_name, group) == b"x"
            took_s.append(time.monotonic() - start)
        assert min(took_s) < 2.5  # the library's own delay alone is three seconds


def test_after_stop_nobody_answers_and_a_new_start_is_empty(topic_name):
    mock = MockKafka()
    with pytest.raises(LocalBrokerError, match="not running"):
        _ = mock.bootstrap
    mock.start()
    mock.create_topic(topic_name)
    gone = mock.bootstrap
    mock.stop()
    mock.stop()
    with pytest.raises(KafkaException):
        AdminClient({"bootstrap.servers": gone, "log_level": 0}).list_topics(timeout=0.5)
    with mock:
        mock.create_topic(topic_name)


def test_brokers_are_counted_from_one():
    with pytest.raises(ValueError, match="at least 1"):
        MockKafka(brokers=0)
