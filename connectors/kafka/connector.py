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

from connectors.kafka import bounds
from connectors.kafka.at_least_once import AtLeastOnce
from connectors.kafka.exactly_once import ExactlyOnce
from connectors.kafka.guarantee import Guarantee
from connectors.kafka.intake import Intake
from connectors.kafka.offsets import OffsetTracker, Partition, Taken
from pipeline import kafka_headers, kafka_properties
from pipeline.connector import NO_LIMIT, Answer, Headers, Record, Refuse
from pipeline.errors import ConnectorError, Undecodable
from pipeline.settings import RouteSettings, Settings, topic_names

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
        self._consumer_properties = kafka_properties.group_consumer(
            kafka, client_id, route.group, is_static=is_static, **bounds.consumer(route)
        )
        self._tracker = OffsetTracker()
        self._batches: deque[Taken] = (
            deque()
        )  # what each poll took, until it is answered: batches are answered in order
        self._changed = threading.Condition()  # guards the two above
        self._intake = Intake(route.max_wait_ms / 1000)
        self._is_paused = False
        self._fatal: ConnectorError | None = None
        self._is_open = False
        self._is_closing = False
        self._guarantee: Guarantee
        if route.guarantee == "exactly_once":
            # An unfinished transaction of the member before must be waited for, not read over.
            self._consumer_properties["isolation.level"] = "read_committed"
            transactional_id = f"{client_id}-{route.group}"
            producer = kafka_properties.transactional_producer(
                kafka, client_id, transactional_id, linger_ms=5, **bounds.producer(route)
            )
            self._guarantee = ExactlyOnce(route, producer, self._tracker, self._changed, self._on_error, self._on_fatal)
        else:
            producer = kafka_properties.producer(kafka, client_id, linger_ms=5, **bounds.producer(route))
            self._guarantee = AtLeastOnce(route, producer, self._tracker, self._changed, self._on_error)

    @classmethod
    def from_settings(cls, route: RouteSettings, settings: Settings, client_id: str) -> KafkaConnector:
        """Return the connector of one route."""
        return cls(route, settings.kafka, client_id, is_static=settings.worker.static_membership)

    def open(self) -> None:
        """See Connector: starts joining the group; the broker may be away."""
        try:
            # The end of a partition is told: it may lie behind markers and aborted records that no poll returns.
            told = {"enable.partition.eof": True, "error_cb": self._on_error, "on_commit": self._on_commit}
            self._consumer = Consumer({**self._consumer_properties, **told}, logger=log)
            self._guarantee.start()
            self._consumer.subscribe(
                [topic_names.regex(self._route.request_topic) if self._route.is_pattern else self._route.request_topic],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
        except KafkaException as error:
            raise ConnectorError("kafka settings", str(error)) from error
        self._is_open = True

    def poll(self, max_records: int, timeout_s: float, max_bytes: int = NO_LIMIT) -> Sequence[Record]:
        """See Connector."""
        if self._fatal is not None:
            raise self._fatal
        self._guarantee.attend(self._consumer)
        if max_records == 0:
            self._pause()
            message = self._consumer.poll(timeout_s)
            error = None if message is None else message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:
                self._on_message_error(error)
            elif message is not None:
                self._intake.keep(message)
            return []
        self._resume()
        return self._take(self._intake.take(self._consumer, max_records, max_bytes, timeout_s))

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
        empty: dict[Partition, int] = {}
        with self._changed:
            assigned = self._tracker.assigned
            for message in messages:
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    self._on_message_error(error)
                    continue
                topic, partition, offset = cast(Place, (message.topic(), message.partition(), message.offset()))
                if (topic, partition) not in assigned:  # revoked while it lay in the client's queue
                    continue
                if error is not None:
                    empty[topic, partition] = offset
                    continue
                ends[topic, partition] = offset + 1
                records.append(_record(message, topic, partition, offset))
            if records:
                self._batches.append(self._tracker.take(ends))
            self._tracker.pass_over(empty)
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
        else:  # one that was revoked while it was paused, and comes back, is paused still
            consumer.resume(partitions)
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
        self._intake.forget(keys)

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


def _record(message: Message, topic: str, partition: int, offset: int) -> Record:
    headers: Headers = ()
    fault = ""
    try:
        headers = kafka_headers.of(message)
    except Undecodable as error:
        fault = error.reason
    value, key, timestamp_ms = message.value(), message.key(), message.timestamp()[1]
    return Record(b"" if value is None else value, key, headers, topic, partition, offset, timestamp_ms, fault)


def _keys(partitions: list[TopicPartition]) -> list[Partition]:
    return [(partition.topic, partition.partition) for partition in partitions]


def _names(partitions: list[TopicPartition]) -> str:
    return ", ".join(f"{partition.topic}[{partition.partition}]" for partition in partitions) or "nothing"
