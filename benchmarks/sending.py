"""Many records at once, as fast as the client's queue takes them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from confluent_kafka import Producer


def put(
    producer: Producer,
    topic: str,
    key: bytes,
    value: bytes,
    partition: int = -1,
    headers: dict[str, str | bytes | None] | None = None,
) -> None:
    """Give one record to the client; waits while its queue is full. ``partition``: by the key, unless given."""
    while True:
        try:
            producer.produce(topic, value, key, partition, headers=headers)
        except BufferError:
            producer.poll(0.05)
        else:
            return


def flush(producer: Producer, timeout_s: float) -> None:
    """Return when the broker has accepted all; ends the process when it has not ``timeout_s`` later."""
    left = producer.flush(timeout_s)
    if left:
        sys.exit(f"{left} requests were not accepted in {timeout_s:g} s")


def send(
    producer: Producer,
    topic: str,
    records: Iterable[tuple[bytes, bytes]],
    timeout_s: float,
    headers: Mapping[str, str | bytes | None] | None = None,
) -> tuple[int, int]:
    """Send key and value of each, and return how many there were, and the size of the last value in bytes.

    Partitions take turns, so all have the same to do. Ends the process when the broker has not accepted all of them
    ``timeout_s`` after the last.
    """
    partitions = len(producer.list_topics(topic).topics[topic].partitions)
    every = dict(headers or {})
    count = size = 0
    for key, value in records:
        size = len(value)
        put(producer, topic, key, value, count % partitions, every)
        count += 1
    flush(producer, timeout_s)
    return count, size
