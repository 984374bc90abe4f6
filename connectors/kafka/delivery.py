"""From answers to records that the broker has accepted: the producing half of the Kafka connector."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from connectors.kafka import dead_letters
from connectors.kafka.refusals import Refusals
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

Report = Callable[[KafkaError | None, Message], None]


class _Delivery:
    """Counts the delivery reports of one batch. Reports come on one thread: the one that polls the producer."""

    __slots__ = ("_answers", "_on_done", "_outbox", "_records", "_refuse", "_refused", "future", "left")

    def __init__(self, outbox: Outbox, records: Sequence[Record], answers: Sequence[Answer], refuse: Refuse,
                 on_done: Callable[[], None]) -> None:  # fmt: skip
        self.future: Future[None] = Future()
        self.left = len(answers) + sum(answer.dead_letter is not None for answer in answers)
        self._outbox, self._records, self._answers = outbox, records, answers
        self._refuse, self._on_done = refuse, on_done
        self._refused: set[int] = set()

    def report(self, error: KafkaError | None, message: Message) -> None:
        """Take one delivery report."""
        if error is not None and not self._sent_again(error, message):
            self.fail(self._outbox.refusals.of_producer(error, message.topic() or ""))
            return
        if error is None:
            self.left -= 1
        if not self.left and not self.future.done():
            self._on_done()
            self.future.set_result(None)

    def fail(self, error: PenstockError) -> None:
        """Give up: the worker stops, and the records come again."""
        if not self.future.done():
            self.future.set_exception(error)

    def _sent_again(self, error: KafkaError, message: Message) -> bool:
        """Return whether the record whose answer was refused for good gets its error result instead."""
        value = message.value()
        for position, answer in enumerate(self._answers):
            if answer.value == value and position not in self._refused:
                self._refused.add(position)
                return self.refuse(position, error)
        return False

    def refuse(self, position: int, error: KafkaError) -> bool:
        """Send the error result of an answer that the broker refuses for good; return whether there is one."""
        record, answer = self._records[position], self._answers[position]
        reason = self._outbox.reason(error, answer)
        if reason is None:
            return False
        log.warning("%s[%d]@%d: %s", record.topic, record.partition, record.offset, reason)
        try:
            self._outbox.send(record, self._refuse(record, reason), self.report)
        except KafkaException as again:
            topic = self._outbox.result_topic
            self.fail(self._outbox.refusals.of_producer(again.args[0], topic))
        return True


class Outbox:
    """Produces the answers of a route. ``send_batch`` runs on one thread at a time; reports come from ``poll``."""

    def __init__(
        self, producer: Producer, route: RouteSettings, is_stopping: threading.Event, refusals: Refusals
    ) -> None:
        self.refusals, self.result_topic = refusals, route.result_topic
        self._producer = producer
        self._route = route
        self._is_stopping = is_stopping
        self._partitions: dict[str, int] = {}

    def send_batch(
        self, records: Sequence[Record], answers: Sequence[Answer], refuse: Refuse, on_done: Callable[[], None]
    ) -> Future[None]:
        """Produce all answers and dead letters of a batch.

        ``on_done`` runs, and then the future completes, when the broker has accepted every one.
        """
        delivery = _Delivery(self, records, answers, refuse, on_done)
        produce, report, topic = self._producer.produce, delivery.report, self._route.result_topic
        partitions = self._partition_count(topic)
        for position, (record, answer) in enumerate(zip(records, answers, strict=True)):
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
                if answer.dead_letter is not None:
                    self._send_dead_letter(record, answer.dead_letter, report)
            except KafkaException as error:
                if not delivery.refuse(position, error.args[0]):
                    delivery.fail(self.refusals.of_producer(error.args[0], answer.topic or topic))
                    break
            except ConnectorError as error:
                delivery.fail(error)
                break
        return delivery.future

    def send(self, record: Record, answer: Answer, report: Report) -> None:
        """Produce one answer; raises KafkaException for what librdkafka refuses at once."""
        topic = answer.topic or self._route.result_topic
        self._produce(topic, answer.value, answer.key, record, answer.headers, answer.partition, report)

    def reason(self, error: KafkaError, answer: Answer) -> PenstockError | None:
        """Return what to tell the caller whose answer was refused, or None where the fault is not the request's."""
        if error.code() in _TOO_LARGE:
            return ResultTooLarge(self._route.servable, len(answer.value), self._route.max_result_bytes)
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED and answer.topic in (None, self._route.result_topic):
            return None  # the worker may write no answer at all
        if error.code() in _NO_SUCH_PLACE and (answer.topic is not None or answer.partition is not None):
            place = f"{answer.topic or self._route.result_topic}[{answer.partition}]"
            return ReplyRefused(place, self._route.reply_topics)
        return None

    def _send_dead_letter(self, record: Record, error: Error, report: Report) -> None:
        headers = dead_letters.headers(record, error, self._route.group)
        topic = self._route.dead_letter_topic
        try:
            self._produce(topic, record.value, record.key, record, headers, None, report)
        except KafkaException as refused:
            raise self.refusals.of_producer(refused.args[0], topic) from refused

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
            except BufferError:  # the queue is full: the polling thread empties it as the broker accepts
                if self._is_stopping.is_set():
                    raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from None
                time.sleep(0.002)
            else:
                return

    def _partition_count(self, topic: str) -> int:
        """Return how many partitions a topic has, 0 where that is unknown: then the key alone decides."""
        count = self._partitions.get(topic)
        if count is None:
            try:
                found = self._producer.list_topics(topic, timeout=_METADATA_TIMEOUT_S).topics.get(topic)
            except KafkaException as error:
                log.warning("no metadata of topic %s: %s", topic, error)
                return 0
            count = self._partitions[topic] = len(found.partitions) if found is not None and not found.error else 0
        return count
