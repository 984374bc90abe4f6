"""A model slower than the poll interval costs no rebalance, on a real Kafka, and nothing is taken meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from connectors.kafka import KafkaConnector
from pipeline.tensors import Array
from pipeline.testing.connector_contract import echo, never
from pipeline.testing.fakes import AddingServable
from pipeline.testing.repeated import repeated
from tests.integration.group_places import PARTITIONS, POLL_INTERVAL_S, Place
from tests.integration.members import wait_for
from tests.unit.running_route import Stage

DEADLINE_S = 60.0


class Slow(AddingServable):
    """Its first call takes as long as it is told to wait."""

    def __init__(self) -> None:
        super().__init__()
        self.is_called, self.may_return = threading.Event(), threading.Event()

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        self.is_called.set()
        assert self.may_return.wait(DEADLINE_S)
        return super().predict(signature, inputs)


def test_a_call_that_takes_longer_than_the_poll_interval_costs_no_rebalance_and_loses_nothing(kafka, topic_name):
    place = Place(kafka.bootstrap, topic_name, max_batch_size=2, max_batches_in_flight=2)
    place.produce(40)
    slow = Slow()
    with Stage(place.connector("one"), place.route, slow) as stage:
        assert slow.is_called.wait(DEADLINE_S)
        before = wait_for("one member with all partitions", place.members)
        called_s = time.monotonic()
        wait_for("twice the poll interval is over", lambda: time.monotonic() > called_s + 1.7 * POLL_INTERVAL_S)
        assert place.members() == before
        slow.may_return.set()
        wait_for("every request committed", lambda: place.committed() == 40)
        assert place.members() == before
        assert not stage.crashes
        assert stage.route.stop(20)
    assert place.results() == 40


@contextmanager
def polling(connector: KafkaConnector, records: int) -> Iterator[list[Any]]:
    """Poll on a thread of its own, as a feeder does, and answer what comes.

    Yields what came, or a None for each poll of none.
    """
    seen = []

    def poll() -> None:
        got = connector.poll(records, 0.05)
        if not records:
            seen.append(None)
        elif got:
            seen.extend((record.partition, record.offset) for record in got)
            connector.answer(got, echo(got), never)

    with repeated(poll):
        yield seen


def test_partitions_that_come_to_a_route_which_takes_nothing_are_paused_from_the_start(kafka, topic_name):
    """Two members, one of them full: the other leaves, and the full one gets its partitions, but not their records."""
    place = Place(kafka.bootstrap, topic_name)
    full, other = place.connector("full"), place.connector("other")
    full.open()
    other.open()
    try:
        with polling(full, 0) as polls:
            with polling(other, 0):
                wait_for("two partitions each", lambda: sorted(place.members().values()) == [2, 2])
            other.close(5)
            wait_for("all partitions", lambda: [*place.members().values()] == [PARTITIONS])
            place.produce(40)
            since = len(polls)
            wait_for("more polls of a route that takes nothing", lambda: len(polls) >= since + 30)
            assert not full._intake._kept
        with polling(full, 100) as seen:
            wait_for("all that was waiting", lambda: len(seen) == 40)
        assert sorted(seen) == sorted((n % PARTITIONS, n // PARTITIONS) for n in range(40))
    finally:
        full.close(5)
        other.close(5)
