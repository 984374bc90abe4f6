"""Rebalances on a real Kafka: what is revoked is finished and committed first, what is lost is never committed."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict

import pytest

from pipeline.testing.connector_contract import never, poll_some
from tests.integration.members import KafkaRoute, Member, echo, wait_for

KEYS = 12
# A member hears of a rebalance with its heartbeat: three seconds, unless set.
OFTEN = {"heartbeat.interval.ms": 300}


class Stream:
    """Numbered requests on several keys at a steady pace, from a thread of its own."""

    def __init__(self, route, per_s=400):
        self._route, self._per_s = route, per_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._send)
        self.each = 0

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._is_over.set()
        self._thread.join()

    def _send(self):
        producer, topic = self._route.producer, self._route.settings.request_topic
        started = time.monotonic()
        while not self._is_over.wait(max(0.0, started + self.each * KEYS / self._per_s - time.monotonic())):
            for key in range(KEYS):
                producer.produce(topic, b"%d" % self.each, b"key-%d" % key)
            self.each += 1
            producer.poll(0)
        assert producer.flush(30) == 0


def slowly(record):
    time.sleep(0.001)
    return echo(record)


@pytest.mark.parametrize(
    ("guarantee", "kafka_settings"),
    [
        ("at_least_once", OFTEN),
        ("exactly_once", OFTEN),
        ("exactly_once", {"group.protocol": "consumer"}),
    ],
    ids=["at least once", "exactly once", "exactly once, KIP-848"],
)
def test_each_key_is_answered_in_order_and_once_while_members_come_and_go(kafka, topic_name, guarantee, kafka_settings):
    """Without a crash there is no duplicate with either guarantee: what is in flight is drained before it is let go."""
    route = KafkaRoute(kafka.bootstrap, topic_name, partitions=6, guarantee=guarantee)
    first = Member(route.connector("first", **kafka_settings), slowly, batch=20).start()
    guest = Member(route.connector("guest", **kafka_settings), slowly, batch=20)
    try:
        with Stream(route) as stream:
            wait_for("the first member at work", lambda: first.taken > 50)
            guest.start()
            wait_for("the guest at work", lambda: guest.taken > 50)
            guest.stop()
            seen = first.taken
            wait_for("the first member at work alone", lambda: first.taken > seen + 200)
        route.wait_for_values(KEYS * stream.each)
    finally:
        first.stop()
        guest.stop()
    assert first.errors + guest.errors == []
    asked, answered = by_key(route.read(route.settings.request_topic)), by_key(route.read())
    assert len(asked) == KEYS
    assert {key: values for key, values in answered.items() if values != asked[key]} == {}


def by_key(found):
    values = defaultdict(list)
    for key, value in found:
        values[key].append(value)
    return values


@pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])
def test_what_is_in_flight_is_answered_and_committed_before_its_partition_goes(kafka, topic_name, guarantee, caplog):
    caplog.set_level(logging.INFO, "connectors.kafka.assignment")
    route = KafkaRoute(kafka.bootstrap, topic_name, partitions=2, guarantee=guarantee)
    one = Member(route.connector("one", **OFTEN), gate := Gate(), batch=100)
    for key in range(20):
        route.produce([b"%d" % key], b"%d" % key)
    one.start()
    guest = Member(route.connector("guest", **OFTEN))
    try:
        wait_for("all of them in flight", lambda: one.taken == 20)
        guest.start()
        wait_for("the rebalance", lambda: "revoked" in caplog.text)
        gate.opened.set()
        wait_for("the guest's partition", lambda: guest._connector._tracker.assigned)
        for key in range(20, 30):
            route.produce([b"%d" % key], b"%d" % key)
        wait_for("the guest's share", lambda: guest.taken and one.taken + guest.taken >= 30)
        assert sorted(route.wait_for_values(30), key=int) == [b"%d" % key for key in range(30)]
    finally:
        gate.opened.set()
        one.stop()
        guest.stop()


class Gate:
    """A model that answers nothing until it is opened."""

    def __init__(self):
        self.opened = threading.Event()

    def __call__(self, record):
        assert self.opened.wait(60)
        return echo(record)


def test_a_rebalance_waits_for_what_is_in_flight_no_longer_than_it_is_told_to(kafka, topic_name):
    """A slow model holds it up for ``revoke_timeout_s``; what was not done then is the next owner's."""
    route = KafkaRoute(kafka.bootstrap, topic_name, partitions=2, revoke_timeout_s=0.5)
    slow = route.connector("slow", **OFTEN)
    slow.open()
    for key in range(20):
        route.produce([b"%d" % key], b"%d" % key)
    batches = [poll_some(slow)]
    while len({record.partition for batch in batches for record in batch}) < 2:  # one poll may bring less than all
        batches.append(poll_some(slow))
    held = [record for batch in batches for record in batch]
    other = Member(route.connector("other")).start()
    try:
        wait_for("the other one's share", lambda: slow.poll(0, 0.1) or other.taken)
        mine = [record for record in held if (record.topic, record.partition) in slow._tracker.assigned]
        for batch in batches:
            slow.answer(batch, [echo(record) for record in batch], never).result(20)
        wait_for("the commit", lambda: slow.poll(0, 0.1) or route.committed(mine[0].partition) > 0)
        assert {record.value for record in held} <= set(route.wait_for_values(20))
    finally:
        slow.close(5)
        other.stop()


def test_what_was_lost_is_never_committed(kafka, topic_name):
    """A worker stalls for longer than its group waits, and answers when another has taken over."""
    settings = {"session.timeout.ms": 6000, "max.poll.interval.ms": 6000, **OFTEN}
    route = KafkaRoute(kafka.bootstrap, topic_name)
    stalled, other = route.connector("stalled", **settings), route.connector("other")
    stalled.open()
    try:
        route.produce([b"%d" % n for n in range(10)])
        records = poll_some(stalled)
        other.open()
        taken = []
        while len(taken) < 4:  # one at a time: their last owner seems to have been killed with them in flight
            found = poll_some(other, 4 - len(taken))
            other.answer(found, [echo(record) for record in found], never).result(20)
            taken += found
        assert [record.value for record in taken] == [b"0", b"1", b"2", b"3"]
        wait_for("the commit", lambda: other.poll(0, 0.1) or route.committed() == 4)
        stalled.answer(records, [echo(record) for record in records], never).result(20)
        wait_for("the stalled one to hear of it", lambda: stalled.poll(0, 0.1) or not stalled._tracker.assigned)
        stalled.close(5)
        assert route.committed() == 4
    finally:
        stalled.close(1)
        other.close(5)


def test_a_partition_that_goes_while_the_route_is_full_and_comes_back_is_read_again(kafka, topic_name):
    """A full route pauses what it has; librdkafka remembers that of a partition across its owners."""
    route = KafkaRoute(kafka.bootstrap, topic_name, partitions=2)
    full, guest = route.connector("full", **OFTEN), route.connector("guest", **OFTEN)
    full.open()
    try:
        wait_for("both partitions", lambda: full.poll(0, 0.1) or len(full._tracker.assigned) == 2)
        guest.open()
        wait_for("one each", lambda: full.poll(0, 0.1) or guest.poll(1, 0.1) or len(guest._tracker.assigned) == 1)
        full.poll(1, 0.0)
        guest.close(5)
        route.produce([b"a"], b"0")
        route.produce([b"b"], b"3")
        records = list(poll_some(full))
        while len(records) < 2:  # one poll may bring both
            records += poll_some(full)
        assert {record.partition for record in records} == {0, 1}
    finally:
        guest.close(1)
        full.close(0.1)


def test_a_static_member_that_comes_back_has_its_partitions_without_a_rebalance(kafka, topic_name):
    """The other member hears of nothing, and the one that returns need not wait for the session of its former self."""
    route = KafkaRoute(kafka.bootstrap, topic_name, partitions=4)
    stays = Member(_static(route, "stays")).start()
    comes = Member(_static(route, "comes")).start()
    try:
        wait_for("two partitions each", lambda: _shares(stays, comes) == [2, 2])
        before = [set(member._connector._tracker.assigned) for member in (stays, comes)]
        comes.stop()
        comes = Member(_static(route, "comes")).start()
        wait_for("its partitions", lambda: set(comes._connector._tracker.assigned) == before[1])
        assert set(stays._connector._tracker.assigned) == before[0]
        for key in range(40):
            route.produce([b"%d" % key], b"%d" % key)
        assert len(route.wait_for_values(40)) == 40
    finally:
        stays.stop()
        comes.stop()


def _static(route, name):
    from connectors.kafka import KafkaConnector

    return KafkaConnector(route.settings, route.kafka, name, is_static=True)


def _shares(*members):
    return [len(list(member._connector._tracker.assigned)) for member in members]
