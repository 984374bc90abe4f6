"""The contract between the Kafka connector and the two ways to publish and acknowledge."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from typing import Protocol

from confluent_kafka import Consumer, KafkaError, TopicPartition

from connectors.kafka.offsets import Partition, Spans, Taken
from pipeline.connector import Answer, Record, Refuse


class Guarantee(Protocol):
    """Publishes the answers of one route, and acknowledges the requests: at least once, or exactly once.

    What was taken is finished in the connector's OffsetTracker when a rebalance need not wait for it any more. Where a
    ``consumer`` is given, the caller is the one thread that may use it (docs/decisions/0006).
    """

    def start(self) -> None:
        """Make the producer and start the thread; raises KafkaException for properties that are none."""
        ...

    def send(self, taken: Taken, records: Sequence[Record], answers: Sequence[Answer], refuse: Refuse) -> Future[None]:
        """See Connector.answer. On a worker thread."""
        ...

    def attend(self, consumer: Consumer, *, is_awaited: bool = False) -> None:
        """Do what needs the consumer: called before each poll, and when a rebalance begins or has ended.

        With ``is_awaited`` somebody waits, until ``settle``, for what was taken to be finished.
        """
        ...

    def hand_out(self, consumer: Consumer, spans: Spans, ahead: Spans) -> None:
        """Have the broker know, where it has to, that these records may be in flight; blocks until it does.

        Called before records are handed out, with the first offset and the end of each partition, and those of what
        comes soon. Where it fails, a death is not noticed: that is logged, and no error.
        """
        ...

    def settle(self, consumer: Consumer, partitions: list[Partition] | None) -> None:
        """Acknowledge what is answered of these partitions; they are let go next. Blocks for the broker.

        Of all, with None: at the end, when nothing is taken any more.
        """
        ...

    def on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Take the outcome of a commit of the consumer's that was not waited for; in one of its calls."""
        ...

    def stop(self, timeout_s: float) -> None:
        """Deliver what was sent and end the thread; ``settle`` may follow. Blocks for ``timeout_s`` at most."""
        ...
