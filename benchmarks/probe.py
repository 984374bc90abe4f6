"""Waits for a contender to be up, a process of its own: ``python -m benchmarks.probe BOOTSTRAP REQUESTS RESULTS``.

It asks every partition of the request topic again and again until each has been answered once, and then waits until
nothing more comes. For whoever reads only what comes after its start, and for whoever has a rebalance before it.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks import model, wire

if TYPE_CHECKING:
    from collections.abc import Iterable

    from confluent_kafka import Message

PREFIX: Final = b"probe-"
_ASK_AGAIN_S: Final = 0.5
_QUIET_S: Final = 1.0
_TIMEOUT_S: Final = 120.0


def key_of(partition: int, number: int) -> bytes:
    """Return the key, and the id, of the request that asks a partition for the ``number``-th time."""
    return b"%s%d-%d" % (PREFIX, partition, number)


def partition_of(key: bytes) -> int:
    """Return the partition that a key of ``key_of`` asked."""
    return int(key.removeprefix(PREFIX).partition(b"-")[0])


def is_probe(message: Message) -> bool:
    """Whether a request is one of these, or a result the answer to one."""
    return (message.key() or b"").startswith(PREFIX)


def values(keys: Iterable[bytes], wire_name: str) -> list[bytes]:
    """Return a single-row request of the MLP for each key."""
    record = wire.named(wire_name).request
    tensor = {"name": model.INPUT, "datatype": "FP32", "shape": [1, model.FEATURES], "data": bytes(4 * model.FEATURES)}
    return [record.encode({"id": key.decode(), "inputs": [tensor]}) for key in keys]


def main() -> None:
    """Probe and print how often a partition was asked."""
    parser = argparse.ArgumentParser()
    for name in ("bootstrap", "requests", "results"):
        parser.add_argument(name)
    parser.add_argument("--wire", choices=wire.NAMES, default=wire.AVRO)
    options = parser.parse_args()
    headers: dict[str, str | bytes | None] = {**wire.named(options.wire).headers}
    producer = Producer({"bootstrap.servers": options.bootstrap})
    consumer = Consumer({"bootstrap.servers": options.bootstrap, "group.id": "probe", "enable.auto.commit": False})
    partitions = consumer.list_topics(options.results).topics[options.results].partitions
    consumer.assign([TopicPartition(options.results, number, 0) for number in partitions])
    waiting, asked = set(consumer.list_topics(options.requests).topics[options.requests].partitions), 0
    deadline_s, quiet_since_s = time.monotonic() + _TIMEOUT_S, time.monotonic()
    while waiting or time.monotonic() < quiet_since_s + _QUIET_S:
        if time.monotonic() > deadline_s:
            sys.exit(f"partitions {sorted(waiting)} were not answered in {_TIMEOUT_S:g} s")
        numbers = sorted(waiting)
        keys = [key_of(number, asked) for number in numbers]
        for number, key, value in zip(numbers, keys, values(keys, options.wire), strict=True):
            producer.produce(options.requests, value, key, number, headers=headers)
        asked += bool(waiting)
        producer.flush(10)
        for message in consumer.consume(1000, _ASK_AGAIN_S):
            quiet_since_s = time.monotonic()
            if message.error() is None and is_probe(message):
                waiting.discard(partition_of(message.key() or b""))
    consumer.close()
    print(json.dumps({"asked": asked}))


if __name__ == "__main__":
    main()
