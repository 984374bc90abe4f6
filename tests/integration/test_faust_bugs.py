"""Where stock Faust loses records, by its own functions or by an agent that raises, Penstock does not."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import Producer

from pipeline.agents import Route
from pipeline.metrics import Metrics
from pipeline.testing.connector_contract import never, poll_some
from tests.integration.members import KafkaRoute, echo, wait_for

GUARANTEES = pytest.mark.parametrize("guarantee", ["at_least_once", "exactly_once"])


def produce_in_transactions(route, values, name):
    """Produce each value in a transaction of its own, and after each one that is aborted: gaps of several offsets."""
    producer = Producer({**route.kafka, "transactional.id": name, "linger.ms": 0, "retry.backoff.ms": 1})
    producer.init_transactions(30)
    for value in values:
        for ending in (producer.commit_transaction, producer.abort_transaction):
            producer.begin_transaction()
            producer.produce(route.settings.request_topic, value)
            assert producer.flush(20) == 0
            ending(20)


@GUARANTEES
def test_the_offset_of_a_slow_record_is_not_passed_though_transaction_markers_follow_it(kafka, topic_name, guarantee):
    """The first record is still computed while later ones are polled, across gaps. Faust commits past it.

    Then all are answered: the committed offset is behind the last record at once, and not one gap further each time.
    """
    route = KafkaRoute(kafka.bootstrap, topic_name, guarantee=guarantee, commit_interval_ms=0)
    produce_in_transactions(route, [b"%d" % n for n in range(5)], topic_name)
    one = route.connector("one")
    one.open()
    try:
        batches = [poll_some(one, 1) for _ in range(5)]
        offsets = [batch[0].offset for batch in batches]
        assert offsets == [0, 4, 8, 12, 16]
        for _ in range(10):
            one.poll(0, 0.01)
        assert route.committed() <= 0
        for position, batch in enumerate(batches):
            one.answer(batch, list(map(echo, batch)), never).result(20)
            expected = offsets[position] + 1
            wait_for("the commit", lambda: one.poll(0, 0.05) or route.committed() > 0)
            assert route.committed() <= expected
        wait_for("the last commit", lambda: one.poll(0, 0.05) or route.committed() == offsets[-1] + 1)
        assert route.values() == [b"%d" % n for n in range(5)]
    finally:
        one.close(5)


class Raises:
    """A dispatcher with a bug."""

    def decode(self, records):
        return [Pending(record) for record in records]

    def decode_late(self, batch):
        pass

    def targets_of(self, batch):
        raise RuntimeError("a bug")

    def refuse(self, record, error):
        raise AssertionError(error)


class Pending:
    def __init__(self, record):
        self.record = record


@GUARANTEES
def test_an_exception_in_the_agent_acknowledges_nothing_and_stops_the_worker(kafka, topic_name, guarantee):
    """Faust acknowledges the batch, restarts the agent, and goes on behind it."""
    route = KafkaRoute(kafka.bootstrap, topic_name, guarantee=guarantee, commit_interval_ms=0)
    connector = route.connector("one")
    crashes: list[BaseException] = []
    crashed = threading.Event()

    def crash(error):
        crashes.append(error)
        crashed.set()

    async def main():
        queue: asyncio.Queue = asyncio.Queue()

        async def stream():
            while True:
                yield await queue.get()

        with ThreadPoolExecutor(1) as pool:
            it = Route("echo", route.settings, connector, Raises(), pool, Metrics())
            it.start(queue.put, asyncio.get_running_loop(), crash)
            agent = asyncio.create_task(it.answer(stream()))
            assert await asyncio.to_thread(crashed.wait, 30)
            await asyncio.to_thread(it.stop, 1.0)
            agent.cancel()

    route.produce([b"a", b"b"])
    asyncio.run(main())
    assert [str(error) for error in crashes] == ["a bug"]
    assert route.committed() <= 0
    successor = route.connector("two")
    successor.open()
    try:
        assert [record.value for record in poll_some(successor)] == [b"a", b"b"]
    finally:
        successor.close(0.1)
