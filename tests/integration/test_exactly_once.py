"""Exactly-once on a real Kafka: one transaction holds answers, dead letters and offsets, whatever goes wrong in it."""

from __future__ import annotations

import threading

import pytest
from confluent_kafka import Producer

from connectors.kafka import exactly_once
from pipeline.connector import Answer
from pipeline.errors import ConnectorError
from pipeline.records import Error
from pipeline.testing.connector_contract import never, poll_some
from tests.integration.members import KafkaRoute, Member, echo, refuse, wait_for

# A member that does not poll is taken for dead after this.
SOON = {"session.timeout.ms": 6000, "max.poll.interval.ms": 6000, "heartbeat.interval.ms": 300}


SMALL = {"max.message.bytes": "2000"}


@pytest.fixture
def route(kafka, topic_name):
    return KafkaRoute(kafka.bootstrap, topic_name, guarantee="exactly_once", result_config=SMALL)


def why_stopped(connector):
    """Return the reason, None while it goes on."""
    try:
        connector.poll(0, 0.1)
    except ConnectorError as error:
        return str(error)


@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
def test_an_answer_that_its_topic_refuses_becomes_one_error_and_its_neighbours_go_out(kafka, topic_name, guarantee):
    """The broker refuses all that were in one request with it. In a transaction that request can not be repaired."""
    route = KafkaRoute(kafka.bootstrap, topic_name, guarantee=guarantee, result_config=SMALL)
    one = route.connector("one")
    one.open()
    try:
        route.produce([b"a", b"b", b"c"])
        records = poll_some(one)
        answers = [echo(records[0]), Answer(b"x" * 5000, None, ()), echo(records[2])]
        one.answer(records, answers, refuse).result(20)
        assert sorted(route.wait_for_values(3)) == [b"a", b"c", b"refused result_too_large"]
        wait_for("the commit", lambda: one.poll(0, 0.1) or route.committed() == 3)
    finally:
        one.close(5)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(b"x" * 2_000_000, None, ()), b"result_too_large"),
        (Answer(b"x", None, (), topic="nobody-made-this"), b"reply_refused"),
        (Answer(b"x", None, (), partition=7), b"reply_refused"),
    ],
    ids=["larger than the producer's limit", "no such topic", "no such partition"],
)
def test_an_answer_that_is_refused_before_it_is_sent_costs_no_transaction(route, answer, code):
    one = route.connector("one")
    one.open()
    try:
        route.produce([b"a", b"b"])
        records = poll_some(one)
        assert len(records) == 2
        one.answer(records, [answer, echo(records[1])], refuse).result(20)
        assert sorted(route.wait_for_values(2)) == [b"b", b"refused " + code]
        assert len(route.values("read_uncommitted")) == 2
    finally:
        one.close(5)


def test_a_second_worker_of_the_same_name_stops_the_first_with_the_reason(route):
    first = route.connector("one")
    first.open()
    route.produce([b"a"])
    records = poll_some(first)
    first.answer(records, list(map(echo, records)), never).result(20)
    wait_for("the commit", lambda: route.committed() == 1)
    route.produce([b"b"])
    records = poll_some(first)
    # What the second one's connector does when it opens.
    namesake = Producer({**route.kafka, "transactional.id": f"one-{route.settings.group}"})
    namesake.init_transactions(20)
    first.answer(records, list(map(echo, records)), never)

    try:
        assert "fenced" in wait_for("the first one to hear of it", lambda: why_stopped(first))
        assert "worker.id" in why_stopped(first)
        first.close(1)
        second = route.connector("one")
        second.open()
        assert [record.value for record in poll_some(second)] == [b"b"]
        assert route.values() == [b"a"]
        second.close(1)
    finally:
        first.close(1)


def test_a_client_that_does_not_come_back_from_a_call_stops_the_worker_and_nothing_is_lost(route, monkeypatch):
    """As librdkafka's does, whatever time it is given, where the group's coordinator leaves the cluster meanwhile."""
    comes_back = threading.Event()

    class Hanging(Producer):
        def send_offsets_to_transaction(self, *arguments):
            comes_back.wait(60)
            return super().send_offsets_to_transaction(*arguments)

    with monkeypatch.context() as patched:
        patched.setattr(exactly_once, "Producer", Hanging)
        hanging = route.connector("one", **{"transaction.timeout.ms": 1500})
        hanging.open()
    route.produce([b"a"])
    records = poll_some(hanging)
    hanging.answer(records, list(map(echo, records)), never)

    try:
        assert "does not come back" in wait_for("the worker to give it up", lambda: why_stopped(hanging))
        hanging.close(1)
        after = route.connector("one")
        after.open()
        records = poll_some(after)
        after.answer(records, list(map(echo, records)), never).result(20)
        wait_for("the commit", lambda: after.poll(0, 0.1) or route.committed() == 1)
        after.close(5)
    finally:
        comes_back.set()
        hanging.close(1)
    assert route.values() == [b"a"]


def test_answers_for_partitions_that_were_lost_are_seen_by_nobody(route):
    """A worker stalls for longer than its group waits; another answers; then it wakes and answers as well."""
    stalled = route.connector("stalled", **SOON)
    other = Member(route.connector("other"))
    stalled.open()
    try:
        route.produce([b"%d" % n for n in range(10)])
        records = poll_some(stalled)
        other.start()
        wait_for("the other one's answers", lambda: route.committed() == 10)
        late = stalled.answer(records, list(map(echo, records)), never)
        wait_for("the stalled one to hear of it", lambda: stalled.poll(0, 0.1) or not stalled._tracker.assigned)
        assert late.result(20) is None
        stalled.close(5)
        other.stop()
        assert route.values() == [b"%d" % n for n in range(10)]
        assert route.committed() == 10
    finally:
        stalled.close(1)
        other.stop()


def test_a_dead_letter_and_its_answer_are_one_transaction(route):
    """The answer is refused by the broker at first: the dead letter that went with it is not seen twice."""
    one = route.connector("one")
    one.open()
    try:
        route.produce([b"garbage"])
        records = poll_some(one)
        dead = Error("undecodable", "why", retriable=False)
        one.answer(records, [Answer(b"x" * 5000, None, (), dead_letter=dead)], refuse).result(20)
        assert route.wait_for_values(1) == [b"refused result_too_large"]
        assert route.read(route.settings.dead_letter_topic) == [(None, b"garbage")]
    finally:
        one.close(5)


def test_several_batches_share_a_transaction_under_load(kafka, topic_name):
    """Full batches wait for the interval, so few markers stand between many records."""
    route = KafkaRoute(
        kafka.bootstrap, topic_name, guarantee="exactly_once", max_batch_size=10, commit_interval_ms=60_000
    )
    route.produce([b"%d" % n for n in range(205)])
    member = Member(route.connector("one"), batch=10).start()
    try:
        assert len(route.wait_for_values(205)) == 205
    finally:
        member.stop()
    # A marker takes an offset. There are 21 batches at least; one that is not full ends a transaction.
    assert route.end(route.settings.result_topic) < 205 + 21
