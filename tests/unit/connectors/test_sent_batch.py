"""A batch between its answers and the commit: what an attempt does with what is refused."""

from __future__ import annotations

from confluent_kafka import KafkaError, KafkaException

from connectors.kafka.delivery import Item, Outbox
from connectors.kafka.offsets import Span
from connectors.kafka.refusals import Refusals
from connectors.kafka.sent_batch import Attempt, SentBatch
from pipeline.connector import Answer, Record
from pipeline.records import Error
from pipeline.settings import RouteSettings

ROUTE = RouteSettings(servable="m", result_topic="r", dead_letter_topic="d", group="g")
TOO_LARGE = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
GONE = KafkaError(KafkaError._PURGE_QUEUE)


class FakeProducer:
    """Keeps what is produced; refuses at once what ``refuses`` says, and what ``ends`` the transaction."""

    def __init__(self, refuses=(), ends=()):
        self.sent, self.refuses, self.ends = [], refuses, ends

    def produce(self, topic, value, key, partition, on_delivery, headers=None):
        if value in self.refuses:
            raise KafkaException(TOO_LARGE)
        if value in self.ends:
            raise KafkaException(KafkaError(KafkaError._STATE))
        self.sent.append((topic, value, on_delivery))

    def list_topics(self, topic, timeout):
        raise KafkaException(GONE)


class Message:
    def __init__(self, topic, value):
        self.topic, self.value = lambda: topic, lambda: value


def record(offset, partition=0):
    return Record(b"%d" % offset, None, (), "q", partition, offset, 0)


def batch(values, letter=None):
    records = [record(n, n % 2) for n in range(len(values))]
    taken = [(("q", 0), Span(9)), (("q", 1), Span(9))]
    return SentBatch(
        taken,
        records,
        [Answer(value, None, (), dead_letter=letter) for value in values],
        lambda record, error: Answer(b"refused", None, ()),
    )


def attempt(producer, it, failures=None):
    outbox = Outbox(producer, ROUTE, lambda: True, refusals=Refusals(ROUTE, {}))
    made = Attempt(outbox, it, (failures if failures is not None else []).append, lambda: None)
    outbox.send_batch(made)
    return made


def report(producer, errors):
    for topic, value, on_delivery in list(producer.sent):
        on_delivery(errors.get(value), Message(topic, value))


def test_its_future_completes_when_the_broker_has_every_answer():
    producer, it = FakeProducer(), batch([b"a", b"b"])
    attempt(producer, it)
    assert not it.future.done()
    report(producer, {})
    assert it.future.result(0) is None


def test_what_is_refused_at_once_is_replaced_in_the_same_attempt():
    producer, it = FakeProducer(refuses=[b"b"]), batch([b"a", b"b"])
    made = attempt(producer, it)
    assert [value for _, value, _ in producer.sent] == [b"a", b"refused"]
    assert not made.has_failed
    report(producer, {})
    assert it.future.done()


def test_neighbours_in_a_refused_request_are_sent_alone_before_one_of_them_is_replaced():
    it = batch([b"a", b"b"])
    first = FakeProducer()
    made = attempt(first, it)
    report(first, {b"a": TOO_LARGE, b"b": TOO_LARGE})
    assert made.has_failed
    assert it.alone == {Item(0), Item(1)}
    second = FakeProducer()
    made = attempt(second, it)
    report(second, {b"b": TOO_LARGE})
    assert made.has_failed
    assert [answer.value for answer in it.answers] == [b"a", b"refused"]


def test_an_error_result_that_is_refused_as_well_stops_the_worker():
    failures, it = [], batch([b"a", b"b"])
    it.alone = {Item(0), Item(1)}
    for _ in range(2):
        producer = FakeProducer()
        attempt(producer, it, failures)
        report(producer, {b"b": TOO_LARGE, b"refused": TOO_LARGE})
    assert "MSG_SIZE_TOO_LARGE" in str(failures[0])


def test_what_went_with_its_transaction_is_neither_replaced_nor_a_failure():
    failures, producer, it = [], FakeProducer(), batch([b"a", b"b"])
    made = attempt(producer, it, failures)
    report(producer, {b"a": GONE, b"b": GONE})
    assert made.has_failed
    assert [answer.value for answer in it.answers] == [b"a", b"b"]
    assert failures == []


def test_an_error_result_that_the_transaction_does_not_take_any_more_goes_with_the_next_attempt():
    failures, it = [], batch([b"a"])
    assert attempt(FakeProducer(refuses=[b"a"], ends=[b"refused"]), it, failures).has_failed
    assert failures == []
    producer = FakeProducer()
    attempt(producer, it, failures)
    assert [value for _, value, _ in producer.sent] == [b"refused"]


def test_a_dead_letter_stays_with_the_answer_that_takes_the_place_of_the_first():
    it = batch([b"a"], letter=Error("undecodable", "why", retriable=False))
    attempt(FakeProducer(refuses=[b"a"]), it)
    assert (it.answers[0].value, it.answers[0].dead_letter.code) == (b"refused", "undecodable")


def test_a_dead_letter_that_does_not_fit_goes_without_its_value_and_the_request_is_answered():
    it = batch([b"a"], letter=Error("record_too_large", "why", retriable=False))
    producer = FakeProducer(refuses=[b"0"])  # the record's own bytes
    attempt(producer, it)
    report(producer, {})
    assert [(topic, value) for topic, value, _ in producer.sent] == [("d", None), ("r", b"a")]
    assert it.future.done()
    assert it.bare == {0}


def test_a_dead_letter_that_failed_for_its_size_goes_alone_then_bare_with_the_next_attempts():
    failures, it = [], batch([b"a"], letter=Error("record_too_large", "why", retriable=False))
    for expected in ([b"0", b"a"], [b"0", b"a"], [None, b"a"]):
        producer = FakeProducer()
        attempt(producer, it, failures)
        assert [value for _, value, _ in producer.sent] == expected
        report(producer, {b"0": TOO_LARGE})
    assert it.future.done()
    assert failures == []


def test_a_bare_dead_letter_that_does_not_fit_either_is_a_failure():
    failures, it = [], batch([b"a"], letter=Error("record_too_large", "why", retriable=False))
    attempt(FakeProducer(refuses=[b"0", None]), it, failures)
    assert "topic d" in str(failures[0])


def test_the_records_of_other_partitions_are_left_out():
    it = batch([b"a", b"b", b"c"])
    it.refused, it.bare, it.alone = {2}, {1, 2}, {Item(1), Item(2, is_letter=True)}
    it.keep(it.taken[:1])
    assert [answer.value for answer in it.answers] == [b"a", b"c"]
    assert (it.refused, it.bare, it.alone) == ({1}, {1}, {Item(1, is_letter=True)})
