"""A route that many streams share: what waits is computed together, and nobody's answers, order or bounds change."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence

import numpy as np

from connectors.memory import MemoryBroker, MemoryConnector
from pipeline.agents import Route
from pipeline.connector import NO_LIMIT, Record
from pipeline.metrics import Metrics
from pipeline.records import PredictRequest
from pipeline.registry.servable import Servable, ServableId
from pipeline.serving.dispatcher import Dispatcher
from pipeline.settings import CircuitSettings, RouteSettings
from pipeline.tensors import Array, from_array
from pipeline.testing.fakes import AddingServable, FakeClock, manager_with
from tests.unit.running_route import CODEC, RunningRoute, results_of

STREAMS = 6
BATCH = 4
BACKLOG = 400
# One batch is answered, and six are in flight: four, and two more when the streams of the first one are known.
TAKEN = 7 * BATCH


class Counting(MemoryConnector):
    """Tells when so many records were taken."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self.polled = 0
        self.has_polled = threading.Condition()

    def poll(self, max_records: int, timeout_s: float, max_bytes: int = NO_LIMIT) -> Sequence[Record]:
        records = super().poll(max_records, timeout_s, max_bytes)
        with self.has_polled:
            self.polled += len(records)
            self.has_polled.notify_all()
        return records

    def wait_for(self, count: int) -> bool:
        with self.has_polled:
            return self.has_polled.wait_for(lambda: self.polled >= count, 10)


class Waiting(AddingServable):
    """Its second call ends when a backlog has been taken: by then the route has seen one batch of its streams."""

    def __init__(self, connector: Counting, count: int) -> None:
        super().__init__()
        self._connector, self._count = connector, count
        self.was_in_time = False

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        if len(self.calls) == 1:
            self.was_in_time = self._connector.wait_for(self._count)
        return super().predict(signature, inputs)


class Stage(RunningRoute):
    """A route to six streams, the first of which is ``Waiting``."""

    def __init__(self, settings: RouteSettings, taken: int) -> None:
        super().__init__()
        self.broker = MemoryBroker()
        self.connector = Counting(self.broker)
        self.first = Waiting(self.connector, taken)
        self.servables = [self.first, *[AddingServable() for _ in range(STREAMS - 1)]]
        ids: Mapping[ServableId, Servable] = {
            ServableId(f"s{number}", 1): it for number, it in enumerate(self.servables)
        }
        dispatcher = Dispatcher(settings, manager_with(ids), [CODEC], FakeClock())
        self.route = Route("adder", settings, self.connector, dispatcher, self.pool, Metrics())

    def ask(self, numbers: range) -> None:
        for number in numbers:
            row = from_array("x", np.full((1, 2), number % 13, np.float32))
            request = PredictRequest(str(number), servable=f"s{number % STREAMS}", inputs=(row,))
            self.broker.produce(CODEC.encode_request(request))


def settings(after_batches: int = 0) -> RouteSettings:
    return RouteSettings(
        servable="s0",
        request_topic="q",
        result_topic="r",
        max_batch_size=BATCH,
        circuit=CircuitSettings(after_batches=after_batches),
    )


def test_requests_of_many_streams_that_wait_are_computed_together_and_answered_in_order() -> None:
    stage = Stage(settings(), taken=TAKEN)
    stage.ask(range(BACKLOG))
    with stage:
        stage.broker.wait_for_results(BACKLOG)
        assert stage.route.stop(10)
    assert stage.first.was_in_time
    assert not stage.crashes
    assert [record.offset for record, _ in stage.broker.results] == list(range(BACKLOG))
    assert stage.broker.committed == BACKLOG
    found = [(it.id, it.servable, it.error, it.outputs[0].array().tolist()) for it in results_of(stage.broker)]
    assert found == [(str(n), f"s{n % STREAMS}", None, [2.0 * (n % 13)]) for n in range(BACKLOG)]
    # By itself a batch of four requests has one of a stream.
    calls = [rows for servable in stage.servables for rows in servable.calls]
    assert sum(calls) == BACKLOG
    assert 1 < max(calls) <= BATCH


def test_backlogs_that_are_computed_together_and_single_requests_take_turns() -> None:
    """By the agent and by the feeder: nothing is lost, doubled or out of order."""
    backlog, turns = 12 * BATCH, 100
    stage = Stage(settings(), taken=BATCH)
    with stage:
        for turn in range(turns):
            start = turn * (backlog + 1)
            stage.ask(range(start, start + backlog))
            stage.broker.wait_for_results(start + backlog)
            stage.ask(range(start + backlog, start + backlog + 1))
            stage.broker.wait_for_results(start + backlog + 1)
        assert stage.route.stop(10)
    assert not stage.crashes
    assert [record.offset for record, _ in stage.broker.results] == list(range(turns * (backlog + 1)))
    assert [it.id for it in results_of(stage.broker)] == [str(n) for n in range(turns * (backlog + 1))]


def test_what_one_stream_asks_in_them_is_no_larger_call_than_a_batch() -> None:
    stage = Stage(settings(), taken=TAKEN)
    stage.ask(range(STREAMS * 2))
    stage.ask(range(0, 200 * STREAMS, STREAMS))  # all of the first stream
    with stage:
        stage.broker.wait_for_results(STREAMS * 2 + 200)
        assert stage.route.stop(10)
    assert stage.first.was_in_time
    assert max(stage.first.calls) == BATCH


def test_a_route_whose_circuit_counts_batches_computes_them_one_by_one() -> None:
    stage = Stage(settings(after_batches=3), taken=8)
    stage.ask(range(BACKLOG))
    with stage:
        stage.broker.wait_for_results(BACKLOG)
        assert stage.route.stop(10)
    assert {rows for servable in stage.servables for rows in servable.calls} == {1}
