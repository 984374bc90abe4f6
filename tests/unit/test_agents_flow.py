"""A route holds no more than it may, and stops or sets aside what its servable fails on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import msgspec
import numpy as np
import pytest

from connectors.memory import MemoryBroker, MemoryConnector
from pipeline.codecs.cluster_serving import ClusterServingCodec
from pipeline.connector import NO_LIMIT, Answer, Record, Refuse
from pipeline.records import PredictRequest
from pipeline.registry.servable import Signature, TensorSpec
from pipeline.serving.circuit import PROBE_REQUESTS, State
from pipeline.settings import CircuitSettings
from pipeline.tensors import Array, from_array
from pipeline.testing.fakes import AddingServable, FakeClock
from tests.unit.codecs import ancestor_bytes as theirs
from tests.unit.running_route import CODEC, REQUEST, SETTINGS, Stage, results_of
from tests.waiting import wait_for

DEADLINE_S = 30.0


class Counting(MemoryConnector):
    """Accepts answers when it is told to, and knows how many bytes of requests are with the route at most."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self._lock = threading.Lock()
        self.out_bytes = self.most_bytes = 0
        self.is_full = threading.Event()
        self.waiting: list[Callable[[], Any]] = []

    def poll(self, max_records: int, timeout_s: float, max_bytes: int = NO_LIMIT) -> Sequence[Record]:
        if max_records == 0:
            self.is_full.set()
        records = super().poll(max_records, timeout_s, max_bytes)
        with self._lock:
            self.out_bytes += sum(len(record.value) for record in records)
            self.most_bytes = max(self.most_bytes, self.out_bytes)
        return records

    def answer(self, records: Sequence[Record], answers: Sequence[Answer], refuse: Refuse) -> Future[None]:
        done: Future[None] = Future()

        def accept() -> None:
            with self._lock:
                self.out_bytes -= sum(len(record.value) for record in records)
            MemoryConnector.answer(self, records, answers, refuse)
            done.set_result(None)

        self.waiting.append(accept)
        return done


def request(rows: int) -> bytes:
    return CODEC.encode_request(PredictRequest("a", inputs=(from_array("x", np.ones((rows, 2), np.float32)),)))


def work_off(connector: Counting, broker: MemoryBroker, count: int) -> None:
    """Let the broker accept only when the route takes no more."""
    while len(broker.results) < count:
        if not connector.is_full.wait(0.05) and not connector.waiting:
            continue
        connector.is_full.clear()
        for accept in [connector.waiting.pop(0) for _ in range(len(connector.waiting))]:
            accept()


@pytest.mark.parametrize("kilobytes", [[30] * 30, [1] * 200, [30, 1, 1, 60, 1] * 8])
def test_the_requests_of_a_route_stay_within_its_bytes_however_slow_the_broker_is(kilobytes: list[int]) -> None:
    broker = MemoryBroker()
    connector = Counting(broker)
    settings = msgspec.structs.replace(SETTINGS, max_batch_size=50, max_in_flight_bytes=300_000)
    for size in kilobytes:
        broker.produce(request(size * 125))
    with Stage(connector, settings) as stage:
        work_off(connector, broker, len(kilobytes))
        assert stage.route.stop(10)
    assert connector.most_bytes <= 300_000
    assert [record.offset for record, _ in broker.results] == list(range(len(kilobytes)))


def test_a_request_that_is_larger_than_the_bound_passes_alone() -> None:
    broker = MemoryBroker()
    connector = Counting(broker)
    settings = msgspec.structs.replace(SETTINGS, max_batch_size=50, max_in_flight_bytes=100_000)
    sizes = [1, 1, 500, 1, 500, 500, 1]
    for size in sizes:
        broker.produce(request(size * 125))
    with Stage(connector, settings) as stage:
        work_off(connector, broker, len(sizes))
        assert stage.route.stop(10)
    assert [result.error for result in results_of(broker)] == [None] * len(sizes)
    # With the one that is computed, the next one waits for its turn.
    assert connector.most_bytes < 1_100_000


class Waiting:
    """Computes when it is told to."""

    signatures: Mapping[str, Signature] = {
        "serving_default": Signature((TensorSpec("x", "FP32", (-1, 100_000)),), (TensorSpec("y", "FP32", (-1,)),))
    }

    def __init__(self) -> None:
        self.may_compute = threading.Event()

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        del signature
        assert self.may_compute.wait(DEADLINE_S)
        return {"y": inputs["x"][:, 0]}


def test_a_sparse_tensor_counts_as_what_it_is_when_it_is_dense() -> None:
    """Each of 400 kB in a record of 1 kB: two have room, the third waits for it, and no more are taken."""
    broker, servable = MemoryBroker(), Waiting()
    connector = Counting(broker)
    settings = msgspec.structs.replace(
        SETTINGS, format="cluster-serving", max_batch_size=1, max_batches_in_flight=4, max_in_flight_bytes=1_000_000
    )
    value = theirs.entry("u", theirs.stream({"x": theirs.sparse([[0], [0]], [1], [1, 100_000])}))
    for _ in range(6):
        broker.produce(value)
    with Stage(connector, settings, servable, codecs=[ClusterServingCodec()]) as stage:
        assert connector.is_full.wait(DEADLINE_S)
        assert connector.out_bytes == 3 * len(value)
        assert 800_000 < stage.route._in_flight.held_bytes <= 1_000_000
        servable.may_compute.set()
        work_off(connector, broker, 6)
        assert stage.route.stop(10)


class Broken(AddingServable):
    """Raises until it is mended."""

    is_mended = False

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        if not self.is_mended:
            raise RuntimeError("the model is broken")
        return super().predict(signature, inputs)


class Circuited:
    """A route with a circuit, by default after two batches of two, and thirty requests, the first of which fail."""

    def __init__(self, action: str, *, max_batch_size: int = 2, after_batches: int = 2) -> None:
        self.broker, self.servable, self.clock = MemoryBroker(), Broken(), FakeClock()
        circuit = CircuitSettings(after_batches=after_batches, action=action, retry_after_s=30)
        settings = msgspec.structs.replace(SETTINGS, max_batch_size=max_batch_size, circuit=circuit)
        for _ in range(30):
            self.broker.produce(REQUEST)
        self.stage = Stage(MemoryConnector(self.broker), settings, self.servable, self.clock)

    def codes(self) -> list[str | None]:
        return [result.error and result.error.code for result in results_of(self.broker)]

    def wait_until_open(self) -> int:
        """Return how many requests have their answers then."""
        wait_for("the circuit is open", lambda: self.stage.route.standing.state is State.OPEN)
        wait_for("nothing is in flight", lambda: not self.stage.route._in_flight.held_bytes)
        return len(self.broker.results)


def test_a_circuit_that_stops_leaves_the_requests_in_the_log_and_goes_on_when_a_few_were_answered() -> None:
    it = Circuited("stop")
    with it.stage as stage:
        failed = it.wait_until_open()
        assert failed < 15
        assert not stage.route.takes_requests
        assert stage.route.is_started
        it.clock.advance(31)
        wait_for(
            "the circuit is open again, after answers",
            lambda: len(it.broker.results) > failed and stage.route.standing.state is State.OPEN,
        )
        probed = it.wait_until_open()
        assert probed - failed == 2
        it.servable.is_mended = True
        it.clock.advance(31)
        it.broker.wait_for_results(30, DEADLINE_S)
        assert stage.route.takes_requests
        assert stage.route.stop(10)
    assert it.codes() == ["model_error"] * probed + [None] * (30 - probed)
    assert [record.offset for record, _ in it.broker.results] == list(range(30))
    assert not it.broker.dead_letters


def test_a_new_version_lets_a_stopped_route_go_on_at_once() -> None:
    it = Circuited("stop")
    with it.stage as stage:
        failed = it.wait_until_open()
        it.servable.is_mended = True
        stage.route.close_circuit()
        it.broker.wait_for_results(30, DEADLINE_S)
        assert stage.route.stop(10)
    assert it.codes() == ["model_error"] * failed + [None] * (30 - failed)


def test_a_circuit_that_sets_aside_sends_each_request_to_the_dead_letters_with_an_error_and_computes_none() -> None:
    it = Circuited("dead_letter")
    with it.stage as stage:
        it.broker.wait_for_results(30, DEADLINE_S)
        assert it.codes() == ["model_error"] * 4 + ["circuit_open"] * 26
        assert [record.offset for record, _ in it.broker.dead_letters] == list(range(4, 30))
        assert stage.route.takes_requests
        calls = len(it.servable.calls)
        it.servable.is_mended = True
        it.broker.produce(REQUEST)
        it.broker.wait_for_results(31, DEADLINE_S)
        assert it.codes()[-1] == "circuit_open"
        assert len(it.servable.calls) == calls
        it.clock.advance(31)
        for _ in range(5):
            it.broker.produce(REQUEST)
        it.broker.wait_for_results(36, DEADLINE_S)
        assert stage.route.stop(10)
    assert it.codes()[31:] == [None] * 5
    assert "the model is broken" in CODEC.decode_result(it.broker.dead_letters[0][1].value).error.message


def test_a_probe_is_a_small_batch_and_the_rest_of_it_is_set_aside() -> None:
    it = Circuited("dead_letter", max_batch_size=30, after_batches=1)
    with it.stage as stage:
        it.broker.wait_for_results(30, DEADLINE_S)
        assert it.codes() == ["model_error"] * 30
        it.servable.is_mended = True
        it.clock.advance(31)
        with it.broker.changed:  # one poll brings them all
            for _ in range(PROBE_REQUESTS + 3):
                it.broker.produce(REQUEST)
        it.broker.wait_for_results(30 + PROBE_REQUESTS + 3, DEADLINE_S)
        assert stage.route.stop(10)
    assert it.codes()[30:] == [None] * PROBE_REQUESTS + ["circuit_open"] * 3
