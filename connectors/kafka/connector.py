"""KafkaConnector: the contract of ``pipeline.connector`` on a consumer; a Guarantee has the producer."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from typing import Final, NamedTuple, cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from connectors.kafka import bounds
from connectors.kafka.assignment import Assignment
from connectors.kafka.at_least_once import AtLeastOnce
from connectors.kafka.exactly_once import ExactlyOnce
from connectors.kafka.guarantee import Guarantee
from connectors.kafka.intake import Intake
from connectors.kafka.offsets import OffsetTracker, Partition, Spans, Taken
from connectors.kafka.record import record_of
from connectors.kafka.refusals import Refusals
from connectors.kafka.suspects import Place, Suspects
from pipeline import kafka_properties
from pipeline.connector import NO_LIMIT, Answer, Record, Refuse, options_of
from pipeline.errors import ConnectorError
from pipeline.kafka_log import ClientLog
from pipeline.settings import RouteSettings, Section, Settings, topic_names

log = logging.getLogger(__name__)

# What a consumed message always has; the client's types allow None for the sake of other messages.
_Told = tuple[str, int, int]

# How long ``close`` lets the consumer take part in rebalances between two looks at what is in flight.
_CLOSING_POLL_S: Final = 0.05
# How long leaving the group may take beyond the time that ``close`` was given.
_LEAVING_S: Final = 5.0
# How long a poll waits for the records in flight, where the next one must come alone.
_QUIET_S: Final = 0.1
# How much is looked at, where marks must be written: so many times what may be in flight.
_WINDOWS_AHEAD: Final = 4


class _Found(NamedTuple):
    """Records of a batch, where they are, and the partitions that have none left, with their ends."""

    records: list[Record]
    spans: Spans
    empty: dict[Partition, int]


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
        self._refusals = Refusals(route, kafka)
        self._consumer_properties = kafka_properties.group_consumer(
            kafka, client_id, route.group, is_static=is_static, **bounds.consumer(route)
        )
        self._tracker = OffsetTracker()
        window = route.max_batch_size * route.max_batches_in_flight
        self._suspects = Suspects(window if route.poison_after_kills else 0)
        self._most_ahead = _WINDOWS_AHEAD * window
        self._batches: deque[Taken] = deque()  # what each poll took, until it is answered: that happens in order
        self._changed = threading.Condition()  # guards the three above
        self._intake = Intake(route.max_wait_ms / 1000)
        self._fatal: ConnectorError | None = None
        self._is_open = False
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
            self._guarantee = AtLeastOnce(route, producer, self._tracker, self._suspects, self._changed, self._on_error)
        self._assignment = Assignment(
            route, self._tracker, self._suspects, self._changed, self._intake.forget, self._guarantee
        )

    @classmethod
    def from_settings(cls, route: RouteSettings, settings: Settings, client_id: str) -> KafkaConnector:
        """Return the connector of one route; raises InvalidSettings where options are given: ``kafka`` holds them."""
        options_of(route, Section)
        return cls(route, settings.kafka, client_id, is_static=settings.worker.static_membership)

    def open(self) -> None:
        """See Connector: starts joining the group; the broker may be away."""
        callbacks = {"error_cb": self._on_error, "on_commit": self._on_commit}
        try:
            # The end of a partition is told: it may lie behind markers and aborted records that no poll returns.
            properties = {**self._consumer_properties, "enable.partition.eof": True, **callbacks}
            self._consumer = Consumer(properties, logger=ClientLog(log, self._consumer_properties))
            self._consumer.subscribe(
                [topic_names.regex(self._route.request_topic) if self._route.is_pattern else self._route.request_topic],
                on_assign=self._assignment.on_assign,
                on_revoke=self._assignment.on_revoke,
                on_lost=self._assignment.on_lost,
            )
            self._guarantee.start()
        except KafkaException as error:
            raise ConnectorError("kafka settings", str(error)) from error
        self._is_open = True

    def poll(self, max_records: int, timeout_s: float, max_bytes: int = NO_LIMIT) -> Sequence[Record]:
        """See Connector."""
        if self._fatal is not None:
            raise self._fatal
        self._guarantee.attend(self._consumer)
        if max_records == 0:
            self._assignment.pause(self._consumer)
            self._poll_paused(timeout_s)
            return []
        if not self._is_calm() and not self._intake.is_empty:
            self._intake.serve(self._consumer)
            return self._take_chosen(self._intake.take_kept(max_records, max_bytes))
        self._assignment.resume(self._consumer)
        messages = self._intake.take(self._consumer, max_records, max_bytes, timeout_s)
        if not self._is_calm():
            return self._take_chosen(messages)
        found = self._read(messages)
        return self._look_ahead(messages, max_records, max_bytes) if self._is_due(found) else self._take(found)

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
        self._assignment.is_closing = True
        self._guarantee.stop(max(0.1, deadline_s - time.monotonic()))
        # On a thread: a commit waits for a broker that does not answer for as long as that takes; and seldom, in the
        # middle of a rebalance, the client waits for itself and never comes back.
        leaving = threading.Thread(target=self._leave, name=f"{self._route.group}-leaving", daemon=True)
        leaving.start()
        leaving.join(max(_LEAVING_S, deadline_s - time.monotonic()))
        if leaving.is_alive():
            log.warning(
                "group %s was not left: its coordinator gives this member up in time, and what was not acknowledged "
                "comes again",
                self._route.group,
            )

    def _leave(self) -> None:
        try:
            self._guarantee.settle(self._consumer, None)
            self._consumer.close()
        except (KafkaException, RuntimeError) as error:
            log.warning("group %s was not left in good order: %s", self._route.group, error)

    def _finish(self, deadline_s: float) -> None:
        """Wait for what is in flight, and take part in rebalances meanwhile."""
        try:
            self._guarantee.attend(self._consumer, is_awaited=True)
            while not self._is_finished() and time.monotonic() < deadline_s:
                self.poll(0, _CLOSING_POLL_S)
        except ConnectorError as error:
            log.warning("what is in flight comes again: %s", error)

    def _is_finished(self) -> bool:
        with self._changed:
            return not self._tracker.in_flight(self._tracker.assigned)

    # The feeder's thread.

    def _poll_paused(self, timeout_s: float) -> None:
        """Take part in the group; what comes all the same is kept."""
        message = self._consumer.poll(timeout_s)
        if message is None:
            return
        failure = _failure(message)
        if failure is not None:
            self._on_message_error(failure, message.topic())
        else:
            self._intake.keep(message)

    def _take_chosen(self, messages: list[Message]) -> list[Record]:
        """Return what is taken now, where some records are suspected of killing workers; the others are kept."""
        places = [_place(message) if _failure(message) is None else None for message in messages]
        with self._changed:
            is_quiet = self._changed.wait_for(self._is_quiet, _QUIET_S)
            taken, held = self._suspects.choose(places, is_quiet=is_quiet)
        self._intake.put_back([messages[position] for position in held])
        if held:
            self._assignment.pause(self._consumer)  # what is kept must not become more
        if not taken:
            self._poll_paused(0.0)
        return self._take(self._read([messages[position] for position in taken]))

    def _is_quiet(self) -> bool:
        return not self._batches and not self._tracker.in_flight(self._tracker.assigned)

    def _is_calm(self) -> bool:
        with self._changed:
            return self._suspects.is_calm

    def _is_due(self, found: _Found) -> bool:
        with self._changed:
            return self._suspects.is_due(found.spans)

    def _look_ahead(self, messages: list[Message], max_records: int, max_bytes: int) -> list[Record]:
        """Return what is taken, where the broker must know of it first: it hears of what comes next, too.

        A backlog of many partitions comes in runs of one partition, and each run would wait for a commit of its own. A
        rebalance may come here: what it takes away must not be in anybody's hands.
        """
        self._intake.put_back([message for message in messages if _failure(message) is None])
        self._intake.look_ahead(self._consumer, self._most_ahead, max_bytes)
        messages = self._intake.take_kept(max_records, max_bytes)
        if not self._is_calm():
            return self._take_chosen(messages)
        return self._take(self._read(messages), _spans(self._intake.kept))

    def _read(self, messages: Sequence[Message]) -> _Found:
        records: list[Record] = []
        firsts: dict[Partition, int] = {}
        ends: dict[Partition, int] = {}
        empty: dict[Partition, int] = {}
        with self._changed:
            assigned = self._tracker.assigned
            suspects = None if self._suspects.is_calm else self._suspects
            for message in messages:
                error = message.error()
                if error is not None and error.code() != KafkaError._PARTITION_EOF:
                    self._on_message_error(error, message.topic())
                    continue
                topic, partition, offset = cast(_Told, (message.topic(), message.partition(), message.offset()))
                key = topic, partition
                if key not in assigned:  # revoked while it lay in the client's queue
                    continue
                if error is not None:
                    empty[key] = offset
                    continue
                if key not in ends:
                    firsts[key] = offset
                ends[key] = offset + 1
                kills = 0 if suspects is None else suspects.kills((key, offset))
                records.append(record_of(message, topic, partition, offset, kills))
        return _Found(records, {key: (firsts[key], end) for key, end in ends.items()}, empty)

    def _take(self, found: _Found, ahead: Spans | None = None) -> list[Record]:
        records, spans, empty = found
        if records:
            self._guarantee.hand_out(self._consumer, spans, ahead or {})
        with self._changed:
            if records:
                self._batches.append(self._tracker.take({key: end for key, (_, end) in spans.items()}))
            self._tracker.pass_over(empty)
        return records

    def _on_message_error(self, error: KafkaError, topic: str | None) -> None:
        denied = self._refusals.of_consumer(error, topic)
        if denied is not None or error.fatal():
            self._on_fatal(denied or ConnectorError("kafka", self._refusals.text_of(error)))
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            log.warning(
                "topic %s does not exist yet; create it with: penstock topics --create", self._route.request_topic
            )
        else:
            log.warning("%s", self._refusals.text_of(error))

    # librdkafka's callbacks, on whichever of our threads polls.

    def _on_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._on_fatal(ConnectorError("kafka", self._refusals.text_of(error)))
        log.warning("%s", self._refusals.text_of(error))

    def _on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        self._guarantee.on_commit(error, partitions)
        denied = None if error is None else self._refusals.of_consumer(error)
        if denied is not None:
            self._on_fatal(denied)

    def _on_fatal(self, error: ConnectorError) -> None:
        """Have the next ``poll`` raise; from any thread. The first error is the one that tells why."""
        self._fatal = self._fatal or error


def _failure(message: Message) -> KafkaError | None:
    """Return what went wrong; the end of a partition is nothing of that."""
    error = message.error()
    return None if error is None or error.code() == KafkaError._PARTITION_EOF else error


def _spans(messages: Iterable[Message]) -> Spans:
    firsts: dict[Partition, int] = {}
    ends: dict[Partition, int] = {}
    for message in messages:
        if message.error() is None:
            key, offset = _place(message)
            firsts.setdefault(key, offset)
            ends[key] = offset + 1
    return {key: (firsts[key], end) for key, end in ends.items()}


def _place(message: Message) -> Place:
    topic, partition, offset = cast(_Told, (message.topic(), message.partition(), message.offset()))
    return (topic, partition), offset
