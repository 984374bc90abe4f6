"""Everything that a topic has."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, KafkaError, TopicPartition

if TYPE_CHECKING:
    from collections.abc import Iterator

    from confluent_kafka import Message

_TIMEOUT_S: Final = 60.0


def read(bootstrap: str, topic: str) -> Iterator[Message]:
    """Yield every committed record of a topic as it is now; raises TimeoutError when nothing comes for a minute."""
    properties = {"enable.auto.commit": False, "enable.partition.eof": True, "isolation.level": "read_committed"}
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "collector", **properties})
    try:
        partitions = [TopicPartition(topic, p, 0) for p in consumer.list_topics(topic).topics[topic].partitions]
        left = {partition.partition for partition in partitions}
        consumer.assign(partitions)
        deadline_s = time.monotonic() + _TIMEOUT_S
        while left:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"nothing came of partitions {sorted(left)} of {topic} in {_TIMEOUT_S:g} s")
            for message in consumer.consume(10_000, 0.2):
                error = message.error()
                if error is None:
                    deadline_s = time.monotonic() + _TIMEOUT_S
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    left.discard(message.partition())
    finally:
        consumer.close()
