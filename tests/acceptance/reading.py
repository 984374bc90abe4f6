"""What a topic holds, read from its beginning, and what a group has not acknowledged of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from pipeline.codecs.avro_codec import AvroCodec
from pipeline.records import PredictResult
from pipeline.settings import RouteSettings


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


def results(bootstrap: str, route: RouteSettings, count: int, timeout_s: float = 90.0) -> list[PredictResult]:
    """Return the results of a route once there are ``count``, and what comes a second later; fail without them."""
    codec = AvroCodec()
    found = [codec.decode_result(message.value()) for message in read(bootstrap, route.result_topic, count, timeout_s)]
    assert len(found) >= count, f"{len(found)} of {count} results of {route.result_topic} within {timeout_s:g} s"
    return found


def lag(bootstrap: str, route: RouteSettings) -> int:
    """Return how many offsets the group of a route has before it; all of a partition that it has never committed."""
    topic = route.request_topic
    member = Consumer({"bootstrap.servers": bootstrap, "group.id": route.group, "log_level": 0})
    try:
        places = [
            TopicPartition(topic, partition) for partition in member.list_topics(topic, 20).topics[topic].partitions
        ]
        ends = [member.get_watermark_offsets(place, 20)[1] for place in places]
        return sum(end - max(0, it.offset) for end, it in zip(ends, member.committed(places, 20), strict=True))
    finally:
        member.close()
