"""A route at run time: bounded, in order, and never half alive."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import pytest

from connectors.memory import MemoryBroker, MemoryConnector
from pipeline import agents
from pipeline.connector import NO_LIMIT, Answer, Record, Refuse
from pipeline.errors import ConnectorError
from pipeline.tensors import Array
from pipeline.testing.fakes import AddingServable
from tests.unit.running_route import REQUEST, Stage
from tests.waiting import wait_for

FEEDER = "penstock-adder-feeder"


def test_requests_are_answered_in_order_and_a_stop_leaves_nothing_behind() -> None:
    broker = MemoryBroker()
    with Stage(MemoryConnector(broker)) as stage:
        for _ in range(20):
            broker.produce(REQUEST)
        results = broker.wait_for_results(20)
        assert [record.offset for record, _ in results] == list(range(20))
        assert stage.route.stop(10)
        assert broker.committed == 20
        assert not stage.crashes


class Stuck(MemoryConnector):
    """A broker that accepts nothing until it is told to."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.polled = 0
        self.is_full = threading.Event()
        self.waiting: list[Callable[[], Any]] = []

    def poll(self, max_records: int, timeout_s: float, max_bytes: int = NO_LIMIT) -> Sequence[Record]:
        if max_records == 0:
            self.is_full.set()
        records = super().poll(max_records, timeout_s, max_bytes)
        self.polled += len(records)
        return records

    def answer(self, records: Sequence[Record], answers: Sequence[Answer], refuse: Refuse) -> Future[None]:
        done: Future[None] = Future()

        def accept() -> None:
            MemoryConnector.answer(self, records, answers, refuse)
            done.set_result(None)

        self.waiting.append(accept)
        return done


def test_a_route_takes_no_more_than_its_bound_while_the_broker_accepts_nothing() -> None:
    """Three batches of two are in flight, the rest waits at the broker, and the membership is kept by empty polls."""
    broker = MemoryBroker()
    connector = Stuck(broker)
    for _ in range(20):
        broker.produce(REQUEST)
    with Stage(connector) as stage:
        assert connector.is_full.wait(20)
        assert connector.polled == 6
        while len(broker.results) < 20:
            while connector.waiting:
                connector.waiting.pop(0)()
        assert stage.route.stop(10)
        assert [record.offset for record, _ in broker.results] == list(range(20))


class Refusing(MemoryConnector):
    def answer(self, records: Sequence[Record], answers: Sequence[Answer], refuse: Refuse) -> Future[None]:
        failed: Future[None] = Future()
        failed.set_exception(ConnectorError("r", "no such topic"))
        return failed


class Broken(MemoryConnector):
    def answer(self, records: Sequence[Record], answers: Sequence[Answer], refuse: Refuse) -> Future[None]:
        raise RuntimeError("a bug")


class Deaf(MemoryConnector):
    def poll(self, max_records: int, timeout_s: float, max_bytes: int = NO_LIMIT) -> Sequence[Record]:
        raise ConnectorError("q", "not authorised")


@pytest.mark.parametrize("kind", [Refusing, Broken, Deaf])
def test_what_is_nobodys_requests_fault_stops_the_worker_and_acknowledges_nothing(kind: type[MemoryConnector]) -> None:
    broker = MemoryBroker()
    broker.produce(REQUEST)
    with Stage(kind(broker)) as stage:
        assert stage.crashed.wait(20)
        stage.route.stop(0.1)
    assert broker.committed == 0


class Noting(AddingServable):
    """Knows which threads have called it; a call waits until it may go on."""

    def __init__(self) -> None:
        super().__init__()
        self.threads: list[str] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        self.threads.append(threading.current_thread().name)
        assert self.may_go_on.wait(20)
        return super().predict(signature, inputs)


def feed_until_idle_and_quick(stage: Stage, broker: MemoryBroker, servable: Noting) -> None:
    """Have requests answered until one was computed by the feeder: the first one does not know how long it takes."""
    while FEEDER not in servable.threads:
        broker.produce(REQUEST)
        broker.wait_for_results(len(broker.requests))
    wait_for("the place that the feeder polls for", lambda: stage.route._in_flight.is_single)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any time is quick: how fast this machine is now is not the question."""
    monkeypatch.setattr(agents, "_QUICK_S", 3600.0)


@pytest.mark.usefixtures("quick")
def test_a_request_that_comes_to_an_idle_and_quick_route_is_computed_where_it_was_read() -> None:
    broker, servable = MemoryBroker(), Noting()
    with Stage(MemoryConnector(broker), servable=servable) as stage:
        feed_until_idle_and_quick(stage, broker, servable)
        assert servable.threads[0] != FEEDER
        assert stage.route.stop(10)
        assert broker.committed == len(broker.results) == len(broker.requests)


@pytest.mark.usefixtures("quick")
def test_full_batches_are_computed_beside_the_poll() -> None:
    broker, servable = MemoryBroker(), Noting()
    for _ in range(20):
        broker.produce(REQUEST)
    with Stage(MemoryConnector(broker), servable=servable) as stage:
        assert [record.offset for record, _ in broker.wait_for_results(20)] == list(range(20))
        assert FEEDER not in servable.threads
        assert stage.route.stop(10)


def test_a_slow_model_is_computed_beside_the_poll(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agents, "_QUICK_S", 0.0)
    broker, servable = MemoryBroker(), Noting()
    with Stage(MemoryConnector(broker), servable=servable) as stage:
        for count in range(1, 6):
            broker.produce(REQUEST)
            broker.wait_for_results(count)
        assert FEEDER not in servable.threads
        assert stage.route.stop(10)


@pytest.mark.usefixtures("quick")
def test_a_feeder_that_computes_for_long_is_stood_in_for_at_the_broker_by_one_thread_at_a_time() -> None:
    broker, servable = MemoryBroker(), Noting()
    connector = OneAtATime(broker)
    with Stage(connector, servable=servable) as stage:
        feed_until_idle_and_quick(stage, broker, servable)
        servable.may_go_on.clear()
        broker.produce(REQUEST)
        for _ in range(2):  # once is not enough
            connector.is_attended.clear()
            assert connector.is_attended.wait(20)
        broker.produce(REQUEST)
        servable.may_go_on.set()
        broker.wait_for_results(len(broker.requests))
        assert [record.offset for record, _ in broker.results] == list(range(len(broker.requests)))
        assert stage.route.stop(10)
        assert not stage.crashes


class OneAtATime(MemoryConnector):
    """Notes a poll that takes nothing, and does not stand two threads in ``poll``."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.is_attended = threading.Event()
        self._turn = threading.Lock()

    def poll(self, max_records: int, timeout_s: float, max_bytes: int = NO_LIMIT) -> Sequence[Record]:
        assert self._turn.acquire(blocking=False), "two threads poll"
        try:
            if max_records == 0:
                self.is_attended.set()
            return super().poll(max_records, timeout_s, max_bytes)
        finally:
            self._turn.release()


class Expelled(MemoryConnector):
    def poll(self, max_records: int, timeout_s: float, max_bytes: int = NO_LIMIT) -> Sequence[Record]:
        if max_records == 0:
            raise ConnectorError("q", "not authorised any more")
        return super().poll(max_records, timeout_s, max_bytes)


@pytest.mark.usefixtures("quick")
def test_what_the_stand_in_meets_at_the_broker_stops_the_worker() -> None:
    broker, servable = MemoryBroker(), Noting()
    with Stage(Expelled(broker), servable=servable) as stage:
        feed_until_idle_and_quick(stage, broker, servable)
        servable.may_go_on.clear()
        broker.produce(REQUEST)
        assert stage.crashed.wait(20)
        servable.may_go_on.set()
        stage.route.stop(10)
