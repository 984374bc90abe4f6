"""What a topic holds, read without a group from its beginning."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, TopicPartition


def read(bootstrap: str, topic: str, count: int, timeout_s: float = 30.0) -> list[Any]:
    """Return the messages of a topic once there are ``count``, or the time is over; one too many is found too."""
    return read_until(bootstrap, topic, lambda found: len(found) >= count, timeout_s)


def read_until(
    bootstrap: str, topic: str, is_enough: Callable[[list[Any]], bool], timeout_s: float = 30.0
) -> list[Any]:
    """Return the messages of a topic once they are enough, or the time is over, and what comes a second later."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "reader", "enable.auto.commit": False})
    partitions = consumer.list_topics(topic, 20).topics[topic].partitions
    consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
    found: list[Any] = []
    deadline = time.monotonic() + timeout_s
    while not is_enough(found) and time.monotonic() < deadline:
        found += [message for message in consumer.consume(1000, 0.2) if message.error() is None]
    # One more than expected would be as wrong as one less.
    found += [message for message in consumer.consume(1000, 1.0) if message.error() is None]
    consumer.close()
    return found
