"""Many records at once, as fast as the client's queue takes them."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping

from confluent_kafka import Producer


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
        while True:
            try:
                producer.produce(topic, value, key, count % partitions, headers=every)
                break
            except BufferError:
                producer.poll(0.05)
        count += 1
    left = producer.flush(timeout_s)
    if left:
        sys.exit(f"{left} of {count} requests were not accepted")
    return count, size
