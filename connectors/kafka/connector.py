"""KafkaConnector: the contract of ``pipeline.connector`` on a consumer; a Guarantee has the producer."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.kafka.at_least_once import AtLeastOnce
from connectors.kafka.exactly_once import ExactlyOnce
from connectors.kafka.guarantee import Guarantee
from connectors.kafka.offsets import OffsetTracker, Partition, Taken
from pipeline import kafka_properties
from pipeline.connector import Answer, Headers, Record, Refuse
from pipeline.errors import ConnectorError
from pipeline.settings import RouteSettings, Settings

log = logging.getLogger(__name__)

# What a consumed message always has; the client's types allow None for the sake of other messages.
Place = tuple[str, int, int]

# How long ``close`` lets the consumer take part in rebalances between two looks at what is in flight.
_CLOSING_POLL_S: Final = 0.05


class KafkaConnector:
    """See Connector. How answers and acknowledgements belong together is the route's guarantee."""

    def __init__(
        self,
        route: RouteSettings,
        kafka: dict[str, kafka_properties.Scalar],
        client_id: str,
        *,
        is_static: bool = False,
    ) -> None:
        self._route = route
        self._consumer_properties = kafka_properties.group_consumer(kafka, client_id, route.group, is_static=is_static)
        self._tracker = OffsetTracker()
        self._batches: deque[Taken] = (
            deque()
        )  # what each poll took, until it is answered: batches are answered in order
        self._changed = threading.Condition()  # guards the two above
        self._held: list[Message] = []
        self._is_paused = False
        self._fatal: ConnectorError | None = None
        self._is_open = False
        self._is_closing = False
        self._guarantee: Guarantee
        if route.guarantee == "exactly_once":
            # An unfinished transaction of the member before must be waited for, not read over.
            self._consumer_properties["isolation.level"] = "read_committed"
            transactional_id = f"{client_id}-{route.group}"
            producer = kafka_properties.transactional_producer(kafka, client_id, transactional_id, linger_ms=5)
            self._guarantee = ExactlyOnce(route, producer, self._tracker, self._changed, self._on_error, self._on_fatal)
        else:
            producer = kafka_properties.producer(kafka, client_id, linger_ms=5)
            self._guarantee = AtLeastOnce(route, producer, self._tracker, self._changed, self._on_error)

    @classmethod
    def from_settings(cls, route: RouteSettings, settings: Settings, client_id: str) -> KafkaConnector:
        """Return the connector of one route."""
        return cls(route, settings.kafka, client_id, is_static=settings.worker.static_membership)

    def open(self) -> None:
        """See Connector: starts joining the group; the broker may be away."""
        try:
            self._consumer = Consumer(
                {**self._consumer_properties, "error_cb": self._on_error, "on_commit": self._on_commit}, logger=log
            )
            self._guarantee.start()
            self._consumer.subscribe(
                [self._route.request_topic],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
        except KafkaException as error:
            raise ConnectorError("kafka settings", str(error)) from error
        self._is_open = True

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """See Connector."""
        if self._fatal is not None:
            raise self._fatal
        self._guarantee.attend(self._consumer)
        if max_records == 0:
            self._pause()
            message = self._consumer.poll(timeout_s)
            if message is not None:
                self._held.append(message)
            return []
        self._resume()
        if not self._held:
            first = self._consumer.poll(timeout_s)
            if first is None:
                return []
            self._held = [first]
        # ``consume`` waits for as many as it was asked for, so it is asked for what is there; a wait is on purpose.
        # What was polled before stays in ``_held`` meanwhile: a rebalance in here takes from it what has been revoked.
        more = self._consumer.consume(max_records - len(self._held), self._route.max_wait_ms / 1000)
        messages, self._held = self._held + more, []
        return self._take(messages)

    def answer(self, records: Sequence[Record], answers: Sequence[Answer], refuse: Refuse) -> Future[None]:
        """See Connector."""
        with self._changed:
            taken = self._batches.popleft()
        return self._guarantee.send(taken, records, answers, refuse)

    def close(self, timeout_s: float) -> None:
        """See Connector."""
        if not self._is_open:
            return
        self._is_open = False
        deadline_s = time.monotonic() + timeout_s
        self._finish(deadline_s)
        self._is_closing = True
        self._guarantee.stop(max(0.1, deadline_s - time.monotonic()))
        self._guarantee.settle(self._consumer, None)
        self._consumer.close()

    def _finish(self, deadline_s: float) -> None:
        """Wait for what is in flight, and take part in rebalances meanwhile."""
        try:
            self._guarantee.attend(self._consumer, is_awaited=True)
            while not self._wait_for_answers(list(self._tracker.assigned), 0.0) and time.monotonic() < deadline_s:
                self.poll(0, _CLOSING_POLL_S)
        except ConnectorError as error:
            log.warning("what is in flight comes again: %s", error)

    # The feeder's thread.

    def _take(self, messages: list[Message]) -> list[Record]:
        records: list[Record] = []
        ends: dict[Partition, int] = {}
        with self._changed:
            assigned = self._tracker.assigned
            for message in messages:
                error = message.error()
                if error is not None:
                    self._on_message_error(error)
                    continue
                topic, partition, offset = cast(Place, (message.topic(), message.partition(), message.offset()))
                if (topic, partition) not in assigned:  # revoked while it lay in the client's queue
                    continue
                ends[topic, partition] = offset + 1
                value = message.value()
                records.append(
                    Record(
                        b"" if value is None else value,
                        message.key(),
                        cast(Headers, message.headers() or ()),
                        topic,
                        partition,
                        offset,
                        message.timestamp()[1],
                    )
                )
            if records:
                self._batches.append(self._tracker.take(ends))
        return records

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._consumer.pause(self._consumer.assignment())

    def _resume(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._consumer.resume(self._consumer.assignment())

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        log.info("assigned %s", _names(partitions))
        with self._changed:
            self._tracker.assign(_keys(partitions))
        consumer.incremental_assign(partitions)
        if self._is_paused:
            consumer.pause(partitions)
        self._guarantee.attend(consumer)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Answer what is in flight there, commit it, and let go: the next owner starts behind it."""
        log.info("revoked %s", _names(partitions))
        keys = _keys(partitions)
        if not self._is_closing:  # else ``close`` has waited already
            budget_s = self._route.revoke_timeout_s
            self._guarantee.attend(consumer, is_awaited=True)
            if not self._wait_for_answers(keys, budget_s):
                log.warning("revoked partitions were still in flight after %g s; they come again", budget_s)
        self._guarantee.settle(consumer, keys)
        self._forget(keys)
        consumer.incremental_unassign(partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Forget without a commit: another member owns these already."""
        log.warning("lost %s", _names(partitions))
        self._forget(_keys(partitions))
        consumer.incremental_unassign(partitions)

    def _forget(self, keys: list[Partition]) -> None:
        with self._changed:
            self._tracker.revoke(keys)
        self._held = [message for message in self._held if (message.topic(), message.partition()) not in keys]

    def _wait_for_answers(self, keys: list[Partition], timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._tracker.in_flight(keys), timeout_s)

    def _on_message_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._on_fatal(ConnectorError("kafka", f"{error.str()} ({error.name()})"))
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            log.warning(
                "topic %s does not exist yet; create it with: penstock topics --create", self._route.request_topic
            )
        else:
            log.warning("%s (%s)", error.str(), error.name())

    # librdkafka's callbacks, on whichever of our threads polls.

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._on_fatal(ConnectorError("kafka", f"{error.str()} ({error.name()})"))
        log.warning("%s (%s)", error.str(), error.name())

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        if error is not None and error.code() != KafkaError._NO_OFFSET:
            log.warning("offsets %s were not committed: %s", _names(partitions), error.str())
            with self._changed:
                self._tracker.put_back(_keys(partitions))

    def _on_fatal(self, error: ConnectorError) -> None:
        """Have the next ``poll`` raise; from any thread. The first error is the one that tells why."""
        self._fatal = self._fatal or error


def _keys(partitions: list[TopicPartition]) -> list[Partition]:
    return [(partition.topic, partition.partition) for partition in partitions]


def _names(partitions: list[TopicPartition]) -> str:
    return ", ".join(f"{partition.topic}[{partition.partition}]" for partition in partitions) or "nothing"
