"""From answers to records that the broker has accepted: the producing half of the Kafka connector."""

from __future__ import annotations

import functools
import logging
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer
from msgspec import structs

from connectors.kafka.dead_letters import DeadLetters
from connectors.kafka.refusals import Refusals
from connectors.kafka.topic_sizes import NOT_FOR_US, TopicSizes
from pipeline.connector import Answer, Headers, Record, Refuse, small_key
from pipeline.errors import PenstockError, ReplyRefused, ResultTooLarge
from pipeline.settings import RouteSettings

log = logging.getLogger(__name__)

_TOO_LARGE = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE)
_NO_SUCH_PLACE = NOT_FOR_US | {KafkaError._UNKNOWN_PARTITION}

Report = Callable[[KafkaError | None, Message], None]


class Item(NamedTuple):
    """One record that goes out for a batch: the answer at a position, or the dead letter that belongs to it.

    A bare letter goes without what made it too large: the value of its request, and headers and key beyond 8 KiB.
    """

    position: int
    is_letter: bool = False
    is_bare: bool = False


class Delivery:
    """Counts the delivery reports of one batch. Reports come on one thread: the one that polls the producer.

    One of the callbacks runs, once: ``on_done`` when the broker has accepted every answer and dead letter,
    ``on_failed`` when it will not: the worker stops, and the records come again. Neither does where the producer has
    ended: whoever polls it hears why.

    An answer that is refused for a reason of its own is replaced by its error result, and a dead letter that is too
    large by a bare one: the request itself still lies where that says. Which one is too large the broker
    does not say, it refuses all that were in one request with it: each is sent once more, alone.
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
        self.records, self.answers = records, list(answers)
        self.bare: set[int] = set()
        self.alone: set[Item] = set()
        self._outbox, self._refuse = outbox, refuse
        self._on_done, self._on_failed = on_done, on_failed
        self._expected = len(answers) + sum(answer.dead_letter is not None for answer in answers)
        self._expecting = threading.Lock()
        self._accepted = 0
        self._reported: set[Item] = set()
        self._refused: set[int] = set()
        self.is_over = False

    def send(self, position: int) -> None:
        """Produce the answer at a position, and its dead letter."""
        if self.answers[position].dead_letter is not None:
            self.send_item(self._letter(position), self.report)
        self.send_item(Item(position), self.report)

    def send_item(self, item: Item, report: Report) -> None:
        """Produce one record."""
        try:
            self._outbox.send(self.records[item.position], self.answers[item.position], item, report)
        except KafkaException as error:
            self.failed(error.args[0], item, "kafka")

    def report(self, error: KafkaError | None, message: Message) -> None:
        """Take one delivery report."""
        if error is not None:
            self.take_report(self._find(message), error, message)
            return
        self._accepted += 1
        if self._accepted == self._expected and not self.is_over:
            self.is_over = True
            self._on_done()

    def take_report(self, item: Item | None, error: KafkaError | None, message: Message) -> None:
        """Take the delivery report of an item, None where it is not known whose it is."""
        if error is None:
            self.report(None, message)
        elif item is not None and error.code() in _TOO_LARGE and item not in self.alone:
            self.alone.add(item)
            self.send_alone(item)
        else:
            self.failed(error, item, f"topic {message.topic()}")

    def send_alone(self, item: Item) -> None:
        """Send a record in a request of its own."""
        try:
            answer, report = self.answers[item.position], functools.partial(self.take_report, item)
            self._outbox.send_alone(self.records[item.position], answer, item, report)
        except KafkaException as error:
            self.failed(error.args[0], item, "kafka")

    def failed(self, error: KafkaError, item: Item | None, place: str) -> None:
        """Have an answer replaced by its error result where its request is at fault, else give up."""
        if error.code() == KafkaError._FATAL:  # the reason comes with a poll
            return
        if item is not None:
            record, answer = self.records[item.position], self.answers[item.position]
            where = f"{record.topic}[{record.partition}]@{record.offset}"
            if item.is_letter and error.code() in _TOO_LARGE and not item.is_bare:
                log.warning("%s is too large for the dead-letter topic: the letter has no value", where)
                self.bare.add(item.position)
                self.send_bare(item.position)
                return
            reason = None if item.is_letter else self._outbox.reason(error, record, answer)
            if reason is not None and item.position not in self._refused:
                log.warning("%s: %s", where, reason)
                self._refused.add(item.position)
                self.replace(item.position, self._refuse(record, reason))
                return
        topic = place.removeprefix("topic ") if item is None else self._outbox.topic_of(record, item, answer)
        self.give_up(self._outbox.refusals.of_producer(error, topic))

    def replace(self, position: int, answer: Answer) -> None:
        """Send the error result of an answer that is refused, and its dead letter where the first answer has none."""
        kept = self.answers[position].dead_letter
        is_new = kept is None and answer.dead_letter is not None
        self.answers[position] = answer if kept is None else structs.replace(answer, dead_letter=kept)
        if is_new:
            with self._expecting:
                self._expected += 1
            self.send_item(self._letter(position), self.report)
        self.send_item(Item(position), self.report)

    def send_bare(self, position: int) -> None:
        """Send a dead letter without the value that made it too large."""
        self.send_item(self._letter(position), self.report)

    def give_up(self, error: PenstockError) -> None:
        """Say that the broker will not have it."""
        if not self.is_over:
            self.is_over = True
            self._on_failed(error)

    def _letter(self, position: int) -> Item:
        return Item(position, is_letter=True, is_bare=position in self.bare)

    def _find(self, message: Message) -> Item | None:
        """Return whose report with an error this is: the first with these bytes that has had none."""
        value, topic = message.value(), message.topic()
        for position, (record, answer) in enumerate(zip(self.records, self.answers, strict=True)):
            for item in (Item(position), self._letter(position)):
                found = (None if item.is_bare else record.value) if item.is_letter else answer.value
                is_it = found == value and topic == self._outbox.topic_of(record, item, answer)
                if is_it and item not in self._reported:
                    self._reported.add(item)
                    return item
        return None


class Outbox:
    """Produces the answers of a route. ``send_batch`` runs on one thread at a time; reports come from ``poll``."""

    def __init__(
        self,
        producer: Producer,
        route: RouteSettings,
        make_room: Callable[[], bool],
        unbatched: Callable[[], Producer] | None = None,
        worker: str = "",
        *,
        refusals: Refusals,
    ) -> None:
        """``make_room`` is called while the producer's queue is full: it waits, and returns whether to go on.

        ``unbatched`` returns a producer that puts one record into each request. ``worker`` is the client id that dead
        letters name.
        """
        self.refusals = refusals
        self._producer = producer
        self._route = route
        self._make_room = make_room
        self._unbatched = unbatched or (lambda: producer)
        self._dead_letters = DeadLetters(route, worker)
        self._sizes = TopicSizes(producer)

    def send_batch(self, delivery: Delivery) -> None:
        """Produce all answers and dead letters of a batch, until it is given up."""
        produce, report, topic = self._producer.produce, delivery.report, self._route.result_topic
        # A template has a name for each request topic.
        partitions = 0 if self._route.is_pattern else self._sizes.of(topic, max(r.partition for r in delivery.records))
        alone = {item.position for item in delivery.alone}
        for position, (record, answer) in enumerate(zip(delivery.records, delivery.answers, strict=True)):
            # The ordinary case, without a call of our own for each record.
            partition = answer.partition
            if partition is None:
                partition = record.partition if record.partition < partitions else -1
            is_plain = answer.topic is None and partition < partitions and answer.dead_letter is None
            if partitions and is_plain and not (alone and position in alone):
                value, key = answer.value, answer.key
                try:
                    if answer.headers:
                        produce(topic, value, key, partition, on_delivery=report, headers=list(answer.headers))
                    else:
                        produce(topic, value, key, partition, on_delivery=report)
                    continue
                except BufferError:
                    pass
                except KafkaException as error:
                    delivery.failed(error.args[0], Item(position), "result")
                    continue
            delivery.send(position)
            if delivery.is_over:
                break

    def send(self, record: Record, answer: Answer, item: Item, report: Report) -> None:
        """Produce one answer, or its dead letter; raises KafkaException for what librdkafka refuses at once."""
        self._send_by(self._producer, record, answer, item, report)

    def send_alone(self, record: Record, answer: Answer, item: Item, report: Report) -> None:
        """Do as ``send`` does, with a request to the broker of its own."""
        self._send_by(self._unbatched(), record, answer, item, report)

    def _send_by(self, producer: Producer, record: Record, answer: Answer, item: Item, report: Report) -> None:
        topic = self.topic_of(record, item, answer)
        if item.is_letter:
            why = self._sizes.why_missing(topic)
            if why is not None:  # as below
                raise KafkaException(why)
            if answer.dead_letter is not None:
                headers = self._dead_letters.headers(record, answer.dead_letter, is_bare=item.is_bare)
                value, key = (None, small_key(record.key)) if item.is_bare else (record.value, record.key)
                self._produce(producer, topic, value, key, record, headers, None, report)
        elif topic != self._route.results_of(record.topic) and self._sizes.is_missing(topic):
            raise KafkaException(KafkaError(KafkaError._UNKNOWN_TOPIC))  # librdkafka would hope for it, for 30 s
        else:
            self._produce(producer, topic, answer.value, answer.key, record, answer.headers, answer.partition, report)

    def topic_of(self, record: Record, item: Item, answer: Answer) -> str:
        """Return the topic that an answer, or its dead letter, goes to."""
        if item.is_letter:
            return self._route.dead_letters_of(record.topic)
        return answer.topic or self._route.results_of(record.topic)

    def reason(self, error: KafkaError, record: Record, answer: Answer) -> PenstockError | None:
        """Return what to tell the caller whose answer was refused, or None where the fault is not the request's."""
        if error.code() in _TOO_LARGE:
            return ResultTooLarge(self._route.servable, answer.size_bytes, self._route.max_result_bytes)
        is_own = answer.topic is None or answer.topic == self._route.results_of(record.topic)
        if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED and is_own:
            return None  # the worker may write no answer at all
        if error.code() in _NO_SUCH_PLACE and (answer.topic is not None or answer.partition is not None):
            place = f"{answer.topic or self._route.result_topic}[{answer.partition}]"
            return ReplyRefused(place, self._route.reply_topics)
        return None

    def _produce(
        self,
        producer: Producer,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        record: Record,
        headers: Headers,
        partition: int | None,
        report: Report,
    ) -> None:
        size = self._sizes.of(topic, record.partition if partition is None else partition)
        if partition is None:
            partition = record.partition if record.partition < size else -1
        while True:
            try:
                producer.produce(topic, value, key, partition, on_delivery=report, headers=list(headers))
            except BufferError:
                if not self._make_room():
                    raise KafkaException(KafkaError(KafkaError._QUEUE_FULL)) from None
            else:
                return
