"""What becomes of answers when the producer has ended: the reason comes on another thread than the answers."""

from __future__ import annotations

import threading

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
RECORD = Record(b"1", None, (), "q", 0, 0, 0)
ANSWER = Answer(b"one", None, ())
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


@pytest.fixture
def sender(monkeypatch):
    producer = Ended()
    monkeypatch.setattr(at_least_once, "Producer", lambda _properties, logger: producer)
    tracker = OffsetTracker()
    tracker.assign([("q", 0)])
    it = AtLeastOnce(ROUTE, {"client.id": "w"}, tracker, Suspects(0), threading.Condition(), print)
    it.start()
    yield lambda: it.send(tracker.take({("q", 0): 1}), [RECORD], [ANSWER], lambda record, error: ANSWER), producer
    producer.may_tell.set()
    it.stop(1)


def test_answers_that_a_producer_does_not_take_any_more_wait_for_its_reason_and_later_ones_have_it_at_once(sender):
    send, producer = sender
    early = [send() for _ in range(3)]
    assert not any(future.done() for future in early)
    producer.may_tell.set()
    for future in early:
        assert isinstance(future.exception(DEADLINE_S), AccessDenied)
    late = send()
    assert late.done()
    assert isinstance(late.exception(), AccessDenied)
