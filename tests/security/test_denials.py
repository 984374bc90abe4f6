"""Each ACL of a worker that is missing, met at work: an error or a line in the log says which."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

from connectors.kafka import KafkaConnector
from pipeline.clock import SystemClock
from pipeline.connector import Answer, Record
from pipeline.control import aspired, kafka_log_writer, recovery, states, topic_admin
from pipeline.control.kafka_logs import KafkaLogs
from pipeline.control.topics import TopicSpec
from pipeline.errors import AccessDenied
from pipeline.records import Error, ServableState, State
from pipeline.settings import RouteSettings
from tests.security.secured import SecuredKafka

WORKER = "User:worker"
DEADLINE_S = 40.0


class Place:
    """A route with topics of its own, and a principal that may do all a worker needs, but for what is taken away."""

    def __init__(self, secured: SecuredKafka, guarantee: str = "at_least_once") -> None:
        self.secured, self.name = secured, f"acl-{uuid.uuid4().hex[:8]}"
        self.route = RouteSettings(
            request_topic=f"{self.name}.q", result_topic=f"{self.name}.r", dead_letter_topic=f"{self.name}.d",
            group=self.name, guarantee=guarantee,
        )  # fmt: skip
        self._admin = AdminClient(dict(secured.admin))
        for future in self._admin.create_topics([NewTopic(f"{self.name}.{kind}", 1, 1) for kind in "qrdc"]).values():
            future.result(30)
        self.acls = [("topic", f"{self.name}.q", "Read"), ("group", self.name, "Read"),
                     ("topic", f"{self.name}.r", "Write"), ("topic", f"{self.name}.d", "Write"),
                     ("topic", f"{self.name}.c", "Read"), ("topic", f"{self.name}.c", "Write")]  # fmt: skip
        if guarantee == "exactly_once":
            self.acls.append(("transactional-id", "penstock-*", "Write"))
        secured.allow(WORKER, self.acls)
        self.connector = KafkaConnector(self.route, secured.as_user("worker"), "penstock-w")
        self.control = f"{self.name}.c"

    def request(self, topic: str = "") -> None:
        producer = Producer(dict(self.secured.admin))
        producer.produce(topic or self.route.request_topic, b"x")
        assert producer.flush(30) == 0

    def polled(self) -> list[Record]:
        deadline_s = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline_s:
            records = self.connector.poll(10, 0.2)
            if records:
                return list(records)
        raise TimeoutError("no request came")

    def answered(self, **answer: Any) -> None:
        [record] = self.polled()
        future = self.connector.answer([record], [Answer(b"y", None, (), **answer)], refuse)
        deadline_s = time.monotonic() + DEADLINE_S
        while not future.done() and time.monotonic() < deadline_s:
            self.connector.poll(10, 0.2)
        future.result(0)


def refuse(_record: Record, error: Exception) -> Answer:
    raise AssertionError(error)


@pytest.fixture
def place(secured: SecuredKafka) -> Iterator[Place]:
    made = Place(secured)
    yield made
    made.connector.close(0.5)
    secured.forbid_all(WORKER)


@pytest.fixture
def exactly_once(secured: SecuredKafka) -> Iterator[Place]:
    made = Place(secured, "exactly_once")
    yield made
    made.connector.close(0.5)
    secured.forbid_all(WORKER)


def assert_names(error: object, kind: str, name: str, operation: str) -> None:
    assert isinstance(error, AccessDenied), repr(error)
    assert (error.resource_type, error.resource_name, error.operation) == (kind, name, operation)
    assert error.principal == WORKER
    assert f"--operation {operation} --{kind} {name}" in str(error)


@pytest.mark.parametrize("kind", ["topic", "group"])
def test_a_worker_that_may_not_read_its_requests_or_share_them_stops(place: Place, kind: str) -> None:
    name = place.route.request_topic if kind == "topic" else place.route.group
    place.secured.forbid(WORKER, [(kind, name, "Read")])
    place.connector.open()
    with pytest.raises(AccessDenied) as caught:
        place.polled()
    assert_names(caught.value, kind, name, "Read")


@pytest.mark.parametrize("kind", ["topic", "group"])
def test_an_acl_that_is_taken_away_at_run_time_stops_the_worker_too(place: Place, kind: str) -> None:
    place.request()
    place.connector.open()
    place.answered()
    name = place.route.request_topic if kind == "topic" else place.route.group
    place.secured.forbid(WORKER, [(kind, name, "Read")])
    with pytest.raises(AccessDenied) as caught:
        place.polled()
    assert_names(caught.value, kind, name, "Read")


def test_an_answer_that_may_not_be_written_stops_the_worker(place: Place) -> None:
    place.request()
    place.secured.forbid(WORKER, [("topic", place.route.result_topic, "Write")])
    place.connector.open()
    with pytest.raises(AccessDenied) as caught:
        place.answered()
    assert_names(caught.value, "topic", place.route.result_topic, "Write")


def test_a_worker_that_may_write_nothing_at_all_stops_and_is_told_of_its_answers(place: Place) -> None:
    place.request()
    place.secured.forbid(WORKER, [acl for acl in place.acls if acl[2] == "Write"])
    place.secured.allow(WORKER, [("topic", place.route.result_topic, "Describe")])
    place.connector.open()
    with pytest.raises(AccessDenied) as caught:
        place.answered()
    assert_names(caught.value, "topic", place.route.result_topic, "Write")


def test_an_answer_for_a_partition_of_the_result_topic_that_may_not_be_written_stops_the_worker(place: Place) -> None:
    place.request()
    place.secured.forbid(WORKER, [("topic", place.route.result_topic, "Write")])
    place.connector.open()
    with pytest.raises(AccessDenied) as caught:
        place.answered(topic=place.route.result_topic, partition=0)
    assert_names(caught.value, "topic", place.route.result_topic, "Write")


def test_a_dead_letter_that_may_not_be_written_stops_the_worker(place: Place) -> None:
    place.request()
    place.secured.forbid(WORKER, [("topic", place.route.dead_letter_topic, "Write")])
    place.connector.open()
    with pytest.raises(AccessDenied) as caught:
        place.answered(dead_letter=Error("undecodable", "no", retriable=False))
    assert_names(caught.value, "topic", place.route.dead_letter_topic, "Write")


def test_a_reply_topic_that_may_not_be_written_is_the_requests_problem(place: Place) -> None:
    place.request()
    place.connector.open()
    refused: list[Exception] = []

    def refuse_it(_record: Record, error: Exception) -> Answer:
        refused.append(error)
        return Answer(b"no", None, ())

    [record] = place.polled()
    future = place.connector.answer([record], [Answer(b"y", None, (), topic="acl-no-reply")], refuse_it)
    future.result(DEADLINE_S)
    assert [error.code for error in refused] == ["reply_refused"]


def test_aspired_versions_that_may_not_be_read_are_fatal(place: Place) -> None:
    place.secured.forbid(WORKER, [("topic", place.control, "Read")])
    errors: list[Exception] = []
    is_over = threading.Event()

    def on_fatal(error: Exception) -> None:
        errors.append(error)
        is_over.set()

    follower = aspired.AspiredFollower(
        KafkaLogs(place.secured.as_user("worker")), place.control, "w",
        on_aspired=lambda _r, _g: None, on_forgotten=lambda _s, _g: None, on_fatal=on_fatal,
    )  # fmt: skip
    follower.start()
    assert is_over.wait(DEADLINE_S)
    follower.stop()
    assert_names(errors[0], "topic", place.control, "Read")


def test_a_watcher_that_may_not_publish_is_told_which_acl_it_lacks(place: Place) -> None:
    place.secured.forbid(WORKER, [("topic", place.control, "Write")])
    writer = kafka_log_writer.KafkaLogWriter(place.secured.as_user("worker"), place.control, "w")
    with pytest.raises(AccessDenied) as caught:
        writer.write(b"k", b"v", 15)
    writer.close(1)
    assert_names(caught.value, "topic", place.control, "Write")


def test_states_that_may_not_be_written_are_logged_once_with_the_acl(place: Place, caplog: Any) -> None:
    place.secured.forbid(WORKER, [("topic", place.control, "Write")])
    publisher = states.StatePublisher(KafkaLogs(place.secured.as_user("worker")), place.control, "w", SystemClock())
    publisher.recovered(())
    with caplog.at_level(logging.WARNING):
        for version in (1, 2):
            publisher(ServableState("w", "s", version, State.START))
            assert publisher.flush(15)
    said = [record.message for record in caplog.records if "lacks the ACL Write on topic" in record.message]
    assert len(said) == 1, caplog.text
    place.secured.allow(WORKER, [("topic", place.control, "Write")])


def test_states_of_an_earlier_life_that_may_not_be_read_are_logged_with_the_acl(place: Place, caplog: Any) -> None:
    place.request(place.control)
    place.secured.forbid(WORKER, [("topic", place.control, "Read")])
    recovered = threading.Event()
    reading = recovery.Recovery(
        KafkaLogs(place.secured.as_user("worker")), place.control, "w", lambda _rows: recovered.set()
    )
    with caplog.at_level(logging.WARNING):
        reading.start()
        assert recovered.wait(DEADLINE_S)
    reading.finish(5)
    assert f"lacks the ACL Read on topic {place.control}" in caplog.text


def test_who_may_not_create_topics_is_told_so(secured: SecuredKafka) -> None:
    name = f"acl-{uuid.uuid4().hex[:8]}"
    spec = TopicSpec(name, 1, {"cleanup.policy": "delete"}, "x")
    with pytest.raises(AccessDenied) as caught:
        topic_admin.create_missing(secured.as_user("creator"), [spec])
    assert (caught.value.operation, caught.value.resource_name) == ("Create", name)
    secured.allow("User:creator", [("topic", name, "Create"), ("topic", name, "Describe")])
    assert topic_admin.create_missing(secured.as_user("creator"), [spec]) == [name]
    secured.forbid_all("User:creator")


def test_a_worker_with_the_documented_acls_answers_exactly_once(exactly_once: Place) -> None:
    exactly_once.request()
    exactly_once.connector.open()
    exactly_once.answered()


@pytest.mark.parametrize("kind", ["transactional-id", "topic", "group"])
def test_an_exactly_once_worker_that_lacks_an_acl_stops_and_names_it(exactly_once: Place, kind: str) -> None:
    exactly_once.request()
    acl = {
        "transactional-id": ("transactional-id", "penstock-*", "Write"),
        "topic": ("topic", exactly_once.route.result_topic, "Write"),
        "group": ("group", exactly_once.route.group, "Read"),
    }[kind]
    exactly_once.secured.forbid(WORKER, [acl])
    exactly_once.connector.open()
    with pytest.raises(AccessDenied) as caught:
        exactly_once.answered()
    name = f"penstock-w-{exactly_once.name}" if kind == "transactional-id" else acl[1]
    assert_names(caught.value, kind, name, acl[2])
