"""KafkaConnector: the contract of ``pipeline.connector`` on a consumer and an idempotent producer."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from connectors.kafka.delivery import Outbox
from connectors.kafka.offsets import OffsetTracker, Partition, Taken
from connectors.kafka.refusals import Refusals
from pipeline import kafka_properties
from pipeline.connector import Answer, Headers, Record, Refuse
from pipeline.errors import ConnectorError
from pipeline.kafka_log import ClientLog
from pipeline.settings import RouteSettings, Settings

log = logging.getLogger(__name__)

# What a consumed message always has; the client's types allow None for the sake of other messages.
Place = tuple[str, int, int]

# How long a revoked partition may hold the rebalance up while what is in flight there is answered.
_REVOKE_BUDGET_S: Final = 10.0
# How long the delivery thread waits for reports at most, before it looks again whether answers should go out at once.
_IDLE_S: Final = 0.1
_LOADED_S: Final = 0.005


class KafkaConnector:
    """See Connector. At-least-once: an offset is committed when the broker has accepted every answer up to it."""

    def __init__(self, route: RouteSettings, kafka: dict[str, kafka_properties.Scalar], client_id: str) -> None:
        self._route = route
        self._refusals = Refusals(route, kafka)
        self._client_log = ClientLog(log, kafka)
        self._consumer_properties = kafka_properties.group_consumer(kafka, client_id, route.group)
        self._producer_properties = kafka_properties.producer(kafka, client_id, linger_ms=5)
        self._tracker = OffsetTracker()
        self._batches: deque[Taken] = (
            deque()
        )  # what each poll took, until it is answered: batches are answered in order
        self._changed = threading.Condition()  # guards the two above
        self._held: list[Message] = []
        self._is_paused = False
        self._is_urgent = False  # the batch that was answered last left nothing waiting
        self._is_sending = threading.Event()
        self._next_commit_s = 0.0
        self._fatal: ConnectorError | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @classmethod
    def from_settings(cls, route: RouteSettings, settings: Settings, client_id: str) -> KafkaConnector:
        """Return the connector of one route."""
        return cls(route, settings.kafka, client_id)

    def open(self) -> None:
        """See Connector: starts joining the group; the broker may be away."""
        try:
            self._consumer = Consumer(
                {**self._consumer_properties, "error_cb": self._on_error, "on_commit": self._on_commit},
                logger=self._client_log,
            )
            self._producer = Producer(
                {**self._producer_properties, "error_cb": self._on_error}, logger=self._client_log
            )
            self._consumer.subscribe(
                [self._route.request_topic],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
        except KafkaException as error:
            raise ConnectorError("kafka settings", str(error)) from error
        self._outbox = Outbox(self._producer, self._route, self._stopping, self._refusals)
        self._thread = threading.Thread(target=self._deliver, name=f"{self._route.group}-delivery", daemon=True)
        self._thread.start()

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """See Connector."""
        if self._fatal is not None:
            raise self._fatal
        self._commit_when_due()
        if max_records == 0:
            self._pause()
            message = self._consumer.poll(timeout_s)
            if message is not None:
                self._held.append(message)
            return []
        self._resume()
        messages, self._held = self._held, []
        if not messages:
            first = self._consumer.poll(timeout_s)
            if first is None:
                return []
            messages = [first]
        # ``consume`` waits for as many as it was asked for, so it is asked for what is there; a wait is on purpose.
        messages += self._consumer.consume(max_records - len(messages), self._route.max_wait_ms / 1000)
        return self._take(messages)

    def answer(self, records: Sequence[Record], answers: Sequence[Answer], refuse: Refuse) -> Future[None]:
        """See Connector."""
        with self._changed:
            taken = self._batches.popleft()

        def on_done() -> None:
            with self._changed:
                self._tracker.finish(taken)
                self._changed.notify_all()

        delivery = self._outbox.send_batch(records, answers, refuse, on_done)
        self._is_urgent = len(records) < self._route.max_batch_size
        self._is_sending.set()
        return delivery

    def close(self, timeout_s: float) -> None:
        """See Connector."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        deadline_s = time.monotonic() + timeout_s
        self._wait_for_answers(list(self._tracker.assigned), timeout_s)
        self._stopping.set()
        self._is_sending.set()
        thread.join(max(1.0, deadline_s - time.monotonic()))
        self._producer.flush(max(0.1, deadline_s - time.monotonic()))
        self._commit(None, is_blocking=True)
        self._consumer.close()

    # The feeder's thread.

    def _take(self, messages: list[Message]) -> list[Record]:
        records: list[Record] = []
        ends: dict[Partition, int] = {}
        with self._changed:
            assigned = self._tracker.assigned
            for message in messages:
                error = message.error()
                if error is not None:
                    self._on_message_error(error, message.topic())
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

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Answer what is in flight there, commit it, and let go: the next owner starts behind it."""
        log.info("revoked %s", _names(partitions))
        keys = _keys(partitions)
        budget_s = 0.0 if self._stopping.is_set() else _REVOKE_BUDGET_S  # ``close`` has waited already
        if not self._wait_for_answers(keys, budget_s):
            log.warning("revoked partitions were still in flight after %g s; they come again", budget_s)
        self._commit(keys, is_blocking=True)
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

    def _on_message_error(self, error: KafkaError, topic: str | None) -> None:
        denied = self._refusals.of_consumer(error, topic)
        if denied is not None or error.fatal():
            self._fatal = denied or ConnectorError("kafka", self._refusals.text_of(error))
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            log.warning(
                "topic %s does not exist yet; create it with: penstock topics --create", self._route.request_topic
            )
        else:
            log.warning("%s", self._refusals.text_of(error))

    # librdkafka's callbacks, on whichever of our threads polls.

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = ConnectorError("kafka", self._refusals.text_of(error))
        log.warning("%s", self._refusals.text_of(error))

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        if error is not None and error.code() != KafkaError._NO_OFFSET:
            self._fatal = self._refusals.of_consumer(error) or self._fatal
            log.warning("offsets %s were not committed: %s", _names(partitions), error.str())

    # The connector's own thread.

    def _deliver(self) -> None:
        """Take delivery reports, and let answers linger only while there are more to come.

        A batch that is not full has emptied the log: its answers go out at once, because ``flush`` does not linger.
        Under load they linger for ``linger.ms``, which saves a third of the worker's time: fewer, fuller requests.
        """
        while not self._stopping.is_set():
            if not len(self._producer):
                self._is_sending.wait(_IDLE_S)
                self._is_sending.clear()
            if self._is_urgent:
                self._producer.flush(_IDLE_S)
            else:
                self._producer.poll(_LOADED_S)

    # The feeder's thread, or the closing one after it: the client lets one thread at a time use a consumer, and makes a
    # second one wait for as long as the first polls without a pause.

    def _commit_when_due(self) -> None:
        now_s = time.monotonic()
        if now_s >= self._next_commit_s:
            self._next_commit_s = now_s + self._route.commit_interval_ms / 1000
            self._commit(None, is_blocking=False)

    def _commit(self, keys: list[Partition] | None, *, is_blocking: bool) -> None:
        with self._changed:
            committable = self._tracker.pop_committable(keys)
        if not committable:
            return
        offsets = [TopicPartition(topic, partition, offset) for (topic, partition), offset in committable.items()]
        try:
            if is_blocking:
                self._consumer.commit(offsets=offsets, asynchronous=False)
            else:
                self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            # Not repeated: the next commit covers it, and what no commit covers is delivered again.
            log.warning("offsets %s were not committed: %s", _names(offsets), error)


def _keys(partitions: list[TopicPartition]) -> list[Partition]:
    return [(partition.topic, partition.partition) for partition in partitions]


def _names(partitions: list[TopicPartition]) -> str:
    return ", ".join(f"{partition.topic}[{partition.partition}]" for partition in partitions) or "nothing"
