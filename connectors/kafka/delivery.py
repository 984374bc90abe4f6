"""From answers to records that the broker has accepted: the producing half of the Kafka connector."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.kafka import dead_letters
from pipeline.connector import Answer, Headers, Record, Refuse
from pipeline.errors import ConnectorError, PenstockError, ReplyRefused, ResultTooLarge
from pipeline.records import Error
from pipeline.settings import RouteSettings

log = logging.getLogger(__name__)

_TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE)
_NO_SUCH_PLACE = (
    KafkaError._UNKNOWN_PARTITION,
    KafkaError._UNKNOWN_TOPIC,
    KafkaError.UNKNOWN_TOPIC_OR_PART,
    KafkaError.TOPIC_EXCEPTION,
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
)
_METADATA_TIMEOUT_S = 10.0
# How long a topic that does not exist is taken not to.
_MISSING_S = 5.0

Report = Callable[[KafkaError | None, Message], None]


class Delivery:
    """Counts the delivery reports of one batch. Reports come on one thread: the one that polls the producer.

    One of the callbacks runs, once: ``on_done`` when the broker has accepted every answer and dead letter,
    ``on_failed`` when it will not: the worker stops, and the records come again.
    """

    def __init__(
        self,
        outbox: Outbox,
        records: Sequence[Record],
        answers: Sequence[Answer],
        refuse: Refuse,
        on_done: Callable[[], None],
        on_failed: Callable[[PenstockError], None],
    ) -> None:
        self.records, self.answers = records, answers
        self._left = len(answers) + sum(answer.dead_letter is not None for answer in answers)
        self._outbox, self._refuse = outbox, refuse
        self._on_done, self._on_failed = on_done, on_failed
        self._refused: set[int] = set()
        self._is_over = False

    def report(self, error: KafkaError | None, message: Message) -> None:
        """Take one delivery report."""
        if error is not None:
            self.failed(error, self._position(message), f"topic {message.topic()}")
            return
        self._left -= 1
        if not self._left and not self._is_over:
            self._is_over = True
            self._on_done()

    def failed(self, error: KafkaError, position: int | None, place: str) -> None:
        """Have an answer replaced by its error result where its request is at fault, else give up."""
        reason = None if position is None else self._outbox.reason(error, self.answers[position])
        if position is None or reason is None or position in self._refused:
            self.give_up(ConnectorError(place, f"{error.str()} ({error.name()})"))
            return
        record = self.records[position]
        log.warning("%s[%d]@%d: %s", record.topic, record.partition, record.offset, reason)
        self._refused.add(position)
        self.replace(position, self._refuse(record, reason))

    def replace(self, position: int, answer: Answer) -> None:
        """Send the error result of an answer that is refused."""
        try:
            self._outbox.send(self.records[position], answer, self.report)
        except KafkaException as error:
            self.give_up(ConnectorError("result", str(error)))

    def give_up(self, error: PenstockError) -> None:
        """Say that the broker will not have it."""
        if not self._is_over:
            self._is_over = True
            self._on_failed(error)

    @property
    def is_over(self) -> bool:
        """Whether a callback has run."""
        return self._is_over

    def _position(self, message: Message) -> int | None:
        value, topic = message.value(), message.topic()
        for position, answer in enumerate(self.answers):
            if answer.value == value and self._outbox.topic_of(answer) == topic and position not in self._refused:
                return position
        return None


class Outbox:
    """Produces the answers of a route. ``send_batch`` runs on one thread at a time; reports come from ``poll``."""

    def __init__(self, producer: Producer, route: RouteSettings, make_room: Callable[[], bool]) -> None:
        """``make_room`` is called while the producer's queue is full: it waits, and returns whether to go on."""
        self._producer = producer
        self._route = route
        self._make_room = make_room
        self._partitions: dict[str, int] = {}
        self._missing_until_s: dict[str, float] = {}

    def send_batch(self, delivery: Delivery) -> None:
        """Produce all answers and dead letters of a batch, until it is given up."""
        produce, report, topic = self._producer.produce, delivery.report, self._route.result_topic
        partitions = self._partition_count(topic)
        for position, (record, answer) in enumerate(zip(delivery.records, delivery.answers, strict=True)):
            try:
                # The ordinary case, without a call of our own for each record.
                if answer.topic is None and answer.partition is None and not (answer.headers or answer.dead_letter):
                    partition = record.partition if record.partition < partitions else -1
                    try:
                        produce(topic, answer.value, answer.key, partition, on_delivery=report)
                        continue
                    except BufferError:
                        pass
                self.send(record, answer, report)
            except KafkaException as error:
                delivery.failed(error.args[0], position, "result")
            if answer.dead_letter is not None:
                try:
                    self._send_dead_letter(record, answer.dead_letter, report)
                except KafkaException as error:
                    delivery.failed(error.args[0], None, "dead letter")
            if delivery.is_over:
                break

    def send(self, record: Record, answer: Answer, report: Report) -> None:
        """Produce one answer; raises KafkaException for what librdkafka refuses at once."""
        topic = self.topic_of(answer)
        if answer.topic is not None and self._is_missing(topic):
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_TOPIC))  # librdkafka would hope for it, for 30 s
        self._produce(topic, answer.value, answer.key, record, answer.headers, answer.partition, report)

    def topic_of(self, answer: Answer) -> str:
        """Return the topic that an answer goes to."""
        return answer.topic or self._route.result_topic

    def reason(self, error: KafkaError, answer: Answer) -> PenstockError | None:
        """Return what to tell the caller whose answer was refused, or None where the fault is not the request's."""
        if error.code() in _TOO_LARGE:
            return ResultTooLarge(self._route.servable, len(answer.value), self._route.max_result_bytes)
        if error.code() in _NO_SUCH_PLACE and (answer.topic is not None or answer.partition is not None):
            place = f"{answer.topic or self._route.result_topic}[{answer.partition}]"
            return ReplyRefused(place, self._route.reply_topics)
        return None

    def _send_dead_letter(self, record: Record, error: Error, report: Report) -> None:
        headers = dead_letters.headers(record, error, self._route.group)
        self._produce(self._route.dead_letter_topic, record.value, record.key, record, headers, None, report)

    def _produce(
        self,
        topic: str,
        value: bytes,
        key: bytes | None,
        record: Record,
        headers: Headers,
        partition: int | None,
        report: Report,
    ) -> None:
        if partition is None:
            partition = record.partition if record.partition < self._partition_count(topic) else -1
        while True:
            try:
                self._producer.produce(topic, value, key, partition, on_delivery=report, headers=list(headers))
            except BufferError:
                if not self._make_room():
                    raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from None
            else:
                return

    def _is_missing(self, topic: str) -> bool:
        """Return whether the broker says that there is no such topic; it is asked again after a while."""
        return not self._partition_count(topic) and topic in self._missing_until_s

    def _partition_count(self, topic: str) -> int:
        """Return how many partitions a topic has, 0 where that is unknown: then the key alone decides."""
        count = self._partitions.get(topic, 0)
        if count or time.monotonic() < self._missing_until_s.get(topic, 0.0):
            return count
        self._missing_until_s.pop(topic, None)
        try:
            found = self._producer.list_topics(topic, timeout=_METADATA_TIMEOUT_S).topics.get(topic)
        except KafkaException as error:
            log.warning("no metadata of topic %s: %s", topic, error)
            return 0
        if found is not None and found.error is None:
            count = self._partitions[topic] = len(found.partitions)
        elif found is None or found.error.code() in _NO_SUCH_PLACE:
            self._missing_until_s[topic] = time.monotonic() + _MISSING_S
        return count
