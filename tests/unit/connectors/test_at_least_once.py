"""When answers go out, and what becomes of them when the producer has ended: both on another thread than theirs."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from confluent_kafka import KafkaError, KafkaException

from connectors.kafka import at_least_once
from connectors.kafka.at_least_once import AtLeastOnce
from connectors.kafka.offsets import OffsetTracker
from connectors.kafka.suspects import Suspects
from pipeline.connector import Answer, Record
from pipeline.errors import AccessDenied
from pipeline.settings import RouteSettings

ROUTE = RouteSettings(servable="m", request_topic="q", result_topic="r", dead_letter_topic="d", group="g")
DEADLINE_S = 20.0


class Ended:
    """A producer that takes nothing any more, and says why when it is let."""

    def __init__(self, _properties=None, logger=None):
        self.may_tell = threading.Event()
        self.has_told = False

    def produce(self, *_what, **_how):
        raise KafkaException(KafkaError(KafkaError._FATAL))

    def poll(self, timeout_s):
        if self.may_tell.wait(timeout_s) and not self.has_told:
            self.has_told = True
            raise KafkaException(KafkaError(KafkaError.CLUSTER_AUTHORIZATION_FAILED, fatal=True))

    flush = poll

    def list_topics(self, topic, timeout):
        raise KafkaException(KafkaError(KafkaError._TRANSPORT))

    def __len__(self):
        return 1


class Slow:
    """A producer whose broker accepts what it has when it is let, partition by partition."""

    def __init__(self):
        self.sent, self.flushed_by = [], set()
        self._changed = threading.Condition()
        self._waiting = []
        self._accepted = None  # the partition that is let next

    def produce(self, _topic, value, _key, partition, on_delivery, headers=()):
        with self._changed:
            self.sent.append(value)
            self._waiting.append((partition, on_delivery))
            self._changed.notify_all()

    def accept(self, partition=0):
        with self._changed:
            self._accepted = partition
            self._changed.notify_all()

    def await_sent(self, *values):
        with self._changed:
            assert self._changed.wait_for(lambda: self.sent == list(values), DEADLINE_S), self.sent

    def flush(self, timeout_s):
        self.flushed_by.add(threading.get_ident())
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or self._accepted is not None, timeout_s)
            reports = [report for partition, report in self._waiting if partition == self._accepted]
            self._waiting = [item for item in self._waiting if item[0] != self._accepted]
            if reports:
                self._accepted = None
        for report in reports:
            report(None, None)

    def list_topics(self, topic, timeout):
        return SimpleNamespace(topics={topic: SimpleNamespace(error=None, partitions={0: None, 1: None})})

    def __len__(self):
        with self._changed:
            return len(self._waiting)


@pytest.fixture
def slow(monkeypatch):
    yield from _sending(monkeypatch, Slow())


@pytest.fixture
def sender(monkeypatch):
    producer = Ended()
    yield from _sending(monkeypatch, producer)
    producer.may_tell.set()


def _sending(monkeypatch, producer):
    monkeypatch.setattr(at_least_once, "Producer", lambda _properties, logger: producer)
    tracker = OffsetTracker()
    tracker.assign([("q", 0), ("q", 1)])
    it = AtLeastOnce(ROUTE, {"client.id": "w"}, tracker, Suspects(0), threading.Condition(), print)
    it.start()

    def send(value, partition=0):
        taken = tracker.take({("q", partition): 1})
        record, answer = Record(b"1", None, (), "q", partition, 0, 0), Answer(value, None, ())
        return it.send(taken, [record], [answer], lambda record, error: answer)

    yield send, producer
    it.stop(1)


def test_answers_wait_for_those_that_are_on_their_way_and_go_together_in_order(slow):
    send, producer = slow
    first = send(b"1")
    assert producer.sent == [b"1"]  # at once, on the caller's thread
    later = [send(b"2"), send(b"3")]
    assert producer.sent == [b"1"]
    producer.accept()
    producer.await_sent(b"1", b"2", b"3")
    assert first.result(DEADLINE_S) is None
    assert not any(future.done() for future in later)
    producer.accept()
    for future in later:
        assert future.result(DEADLINE_S) is None


def test_answers_to_a_partition_that_the_broker_does_not_take_hold_up_no_others(slow):
    send, producer = slow
    stuck = send(b"1", partition=1)
    later = send(b"2")
    producer.await_sent(b"1", b"2")
    producer.accept(0)
    assert later.result(DEADLINE_S) is None
    assert not stuck.done()


def test_an_answer_that_is_alone_goes_out_and_is_accepted_on_the_thread_that_made_it(slow):
    send, producer = slow
    for number in range(3):
        producer.accept()
        assert send(b"%d" % number).done()
    assert producer.flushed_by == {threading.get_ident()}, "no other thread was woken"


def test_what_waits_is_sent_when_the_connector_is_closed(monkeypatch):
    producer = Slow()
    sending = _sending(monkeypatch, producer)
    send, _ = next(sending)
    for value in (b"1", b"2"):
        send(value)
    next(sending, None)
    assert producer.sent == [b"1", b"2"]


def test_answers_that_a_producer_does_not_take_any_more_wait_for_its_reason_and_later_ones_have_it_at_once(sender):
    send, producer = sender
    early = [send(b"one") for _ in range(3)]
    assert not any(future.done() for future in early)
    producer.may_tell.set()
    for future in early:
        assert isinstance(future.exception(DEADLINE_S), AccessDenied)
    late = send(b"one")
    assert late.done()
    assert isinstance(late.exception(), AccessDenied)
