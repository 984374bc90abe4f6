"""KafkaConnector: the contract of ``pipeline.connector`` on a consumer and an idempotent producer."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from typing import Final, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from connectors.kafka.delivery import Outbox
from connectors.kafka.offsets import OffsetTracker, Partition, Taken
from connectors.kafka.record import KafkaRecord
from connectors.kafka.suspects import Place, Suspects
from pipeline import kafka_properties
from pipeline.connector import Answer, Headers, Record, Refuse
from pipeline.errors import ConnectorError
from pipeline.settings import RouteSettings, Settings

log = logging.getLogger(__name__)

# What a consumed message always has; the client's types allow None for the sake of other messages.
_Told = tuple[str, int, int]
# How long a revoked partition may hold the rebalance up while what is in flight there is answered.
_REVOKE_BUDGET_S: Final = 10.0
# How long the delivery thread waits for reports at most, before it looks again whether answers should go out at once.
_IDLE_S: Final = 0.1
# How long a poll waits for the records in flight, where the next one must come alone; and for the offsets of a group.
_QUIET_S: Final = 0.1
_COMMITTED_TIMEOUT_S: Final = 10.0
_LOADED_S: Final = 0.005
# librdkafka's default for the largest record, its own limit for that, and what key and headers may add to a request.
_LEAST_LIMIT_BYTES: Final = 1_000_000
_MOST_LIMIT_BYTES: Final = 1_000_000_000
_HEADERS_BYTES: Final = 64 * 1024


class KafkaConnector:
    """See Connector. At-least-once: an offset is committed when the broker has accepted every answer up to it."""

    def __init__(self, route: RouteSettings, kafka: dict[str, kafka_properties.Scalar], client_id: str) -> None:
        self._route = route
        self._consumer_properties = kafka_properties.group_consumer(kafka, client_id, route.group)
        # A dead letter may be as large as its request, and the topics, not the client, say what is too large.
        largest = min(max(_LEAST_LIMIT_BYTES, route.max_record_bytes + _HEADERS_BYTES), _MOST_LIMIT_BYTES)
        self._producer_properties = kafka_properties.producer(kafka, client_id, linger_ms=5, message_max_bytes=largest)
        self._client_id = client_id
        self._tracker = OffsetTracker()
        window = route.max_batch_size * route.max_batches_in_flight
        self._suspects = Suspects(window if route.poison_after_kills else 0)  # of the feeder's thread
        self._batches: deque[Taken] = (
            deque()
        )  # what each poll took, until it is answered: batches are answered in order
        self._changed = threading.Condition()  # guards the two above
        self._held: list[Message] = []
        self._is_paused = False
        self._is_urgent = False  # the batch that was answered last left nothing waiting
        self._is_sending = threading.Event()
        self._next_commit_s = 0.0
        self._fatal: KafkaError | None = None
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
                {**self._consumer_properties, "error_cb": self._on_error, "on_commit": self._on_commit}, logger=log
            )
            self._producer = Producer({**self._producer_properties, "error_cb": self._on_error}, logger=log)
            self._consumer.subscribe(
                [self._route.request_topic],
                on_assign=self._on_assign,
                on_revoke=self._on_revoke,
                on_lost=self._on_lost,
            )
        except KafkaException as error:
            raise ConnectorError("kafka settings", str(error)) from error
        self._outbox = Outbox(self._producer, self._route, self._stopping, self._client_id)
        self._thread = threading.Thread(target=self._deliver, name=f"{self._route.group}-delivery", daemon=True)
        self._thread.start()

    def poll(self, max_records: int, timeout_s: float) -> Sequence[Record]:
        """See Connector."""
        if self._fatal is not None:
            raise ConnectorError("kafka", f"{self._fatal.str()} ({self._fatal.name()})")
        self._commit_when_due()
        if max_records == 0:
            self._pause()
            message = self._consumer.poll(timeout_s)
            if message is not None:
                self._held.append(message)
            return []
        messages, self._held = self._held, []
        if self._suspects.is_calm or not messages:
            self._resume()
            if not messages:
                first = self._consumer.poll(timeout_s)
                if first is None:
                    return []
                messages = [first]
            # ``consume`` waits for as many as it was asked for, so it is asked for what is there; a wait is on purpose.
            left = max(0, max_records - len(messages))
            messages += self._consumer.consume(left, self._route.max_wait_ms / 1000)
        if not self._suspects.is_calm:
            messages = self._choose(messages)
        elif len(messages) > max_records:
            messages, self._held = messages[:max_records], messages[max_records:]
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
        self._commit(None, is_blocking=True, is_leaving=True)
        self._consumer.close()

    # The feeder's thread.

    def _choose(self, messages: list[Message]) -> list[Message]:
        """Return what is taken now, where some records are suspected to kill workers; the others are held."""
        with self._changed:
            is_quiet = self._changed.wait_for(self._is_quiet, _QUIET_S)
        places = [None if message.error() is not None else _place(message) for message in messages]
        taken, held = self._suspects.choose(places, is_quiet=is_quiet)
        self._held = [messages[position] for position in held]
        if held:
            self._pause()  # what is held must not become more
        if not taken:
            message = self._consumer.poll(0.0)
            if message is not None:
                self._held.append(message)
        return [messages[position] for position in taken]

    def _is_quiet(self) -> bool:
        return not self._batches and not self._tracker.in_flight(self._tracker.assigned)

    def _take(self, messages: list[Message]) -> list[Record]:
        records: list[Record] = []
        firsts: dict[Partition, int] = {}
        ends: dict[Partition, int] = {}
        suspects = None if self._suspects.is_calm else self._suspects
        assigned = self._tracker.assigned  # changes on this thread only
        for message in messages:
            error = message.error()
            if error is not None:
                self._on_message_error(error)
                continue
            topic, partition, offset = cast(_Told, (message.topic(), message.partition(), message.offset()))
            place = topic, partition
            if place not in assigned:  # revoked while it lay in the client's queue
                continue
            if place not in ends:
                firsts[place] = offset
            ends[place] = offset + 1
            value, (timestamp_type, timestamp_ms) = message.value(), message.timestamp()
            records.append(
                KafkaRecord(
                    b"" if value is None else value,
                    message.key(),
                    cast(Headers, message.headers() or ()),
                    topic,
                    partition,
                    offset,
                    timestamp_ms,
                    0 if suspects is None else suspects.kills((place, offset)),
                    timestamp_type,
                )
            )
        if records:
            due = self._suspects.take({place: (firsts[place], end) for place, end in ends.items()})
            if due:
                self._commit(None, is_blocking=True, due=due)
            with self._changed:
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
        self._ask_for_suspects(consumer, partitions)
        with self._changed:
            self._tracker.assign(_keys(partitions))
        consumer.incremental_assign(partitions)
        if self._is_paused:
            consumer.pause(partitions)

    def _ask_for_suspects(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Read how the last owners of these partitions have ended; what can not be read accuses nobody."""
        if not self._route.poison_after_kills:
            return
        try:
            found = consumer.committed(partitions, _COMMITTED_TIMEOUT_S)
        except KafkaException as error:
            log.warning("not known how the last owner of %s has ended: %s", _names(partitions), error)
            return
        committed = {(each.topic, each.partition): (each.offset, each.metadata) for each in found if not each.error}
        for topic, partition in self._suspects.assign(committed):
            log.warning(
                "the last owner of %s[%d] was killed with requests in flight: they are taken one at a time now",
                topic,
                partition,
            )

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Answer what is in flight there, commit it, and let go: the next owner starts behind it."""
        log.info("revoked %s", _names(partitions))
        keys = _keys(partitions)
        budget_s = 0.0 if self._stopping.is_set() else _REVOKE_BUDGET_S  # ``close`` has waited already
        if not self._wait_for_answers(keys, budget_s):
            log.warning("revoked partitions were still in flight after %g s; they come again", budget_s)
        self._commit(keys, is_blocking=True, is_leaving=True)
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
        self._suspects.revoke(keys)
        self._held = [message for message in self._held if (message.topic(), message.partition()) not in keys]

    def _wait_for_answers(self, keys: list[Partition], timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._tracker.in_flight(keys), timeout_s)

    def _on_message_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = error
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            log.warning(
                "topic %s does not exist yet; create it with: penstock topics --create", self._route.request_topic
            )
        else:
            log.warning("%s (%s)", error.str(), error.name())

    # librdkafka's callbacks, on whichever of our threads polls.

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._fatal = error
        log.warning("%s (%s)", error.str(), error.name())

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

    def _commit(
        self,
        keys: list[Partition] | None,
        *,
        is_blocking: bool,
        due: Mapping[Partition, int] | None = None,
        is_leaving: bool = False,
    ) -> None:
        """Commit what is done, of all partitions or of these, and where nothing more is done there, what is ``due``."""
        with self._changed:
            committable = self._tracker.pop_committable(keys)
            if is_leaving:
                due = self._suspects.leave(list(self._tracker.assigned) if keys is None else keys)
        for partition, offset in (due or {}).items():
            committable[partition] = max(offset, committable.get(partition, offset))
        if not committable:
            return
        offsets = [
            TopicPartition(*partition, offset, self._suspects.mark(partition, offset, is_leaving=is_leaving))
            for partition, offset in committable.items()
        ]
        try:
            if is_blocking:
                self._consumer.commit(offsets=offsets, asynchronous=False)
                self._on_commit(None, offsets)
            else:
                self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            # Not repeated: the next commit covers it, and what no commit covers is delivered again.
            log.warning("offsets %s were not committed: %s", _names(offsets), error)

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        if error is None:
            for each in partitions:
                self._suspects.accepted((each.topic, each.partition), each.offset, each.metadata)
        elif error.code() != KafkaError._NO_OFFSET:
            log.warning("offsets %s were not committed: %s", _names(partitions), error.str())


def _place(message: Message) -> Place:
    topic, partition, offset = cast(_Told, (message.topic(), message.partition(), message.offset()))
    return (topic, partition), offset


def _keys(partitions: list[TopicPartition]) -> list[Partition]:
    return [(partition.topic, partition.partition) for partition in partitions]


def _names(partitions: list[TopicPartition]) -> str:
    return ", ".join(f"{partition.topic}[{partition.partition}]" for partition in partitions) or "nothing"
