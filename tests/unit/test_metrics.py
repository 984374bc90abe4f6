"""What a worker tells of each version: what it answered, and how long it took."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest

from pipeline.codecs.avro_codec import AvroCodec
from pipeline.connector import Record
from pipeline.metrics import Metrics
from pipeline.records import PredictRequest
from pipeline.registry.servable import Servable, ServableId
from pipeline.serving.dispatcher import Dispatcher
from pipeline.settings import BatchingSettings, RouteSettings
from pipeline.tensors import Array, from_array
from pipeline.testing.fakes import AddingServable, FakeClock, manager_with

AVRO = AvroCodec()
FIRST, SECOND = ServableId("adder", 1), ServableId("adder", 2)


class Slow(AddingServable):
    """Takes two seconds a call."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """See Servable."""
        self._clock.advance(2.0)
        return super().predict(signature, inputs)


def request(value: float, version: int | None = None, columns: int = 2, servable: str = "adder") -> Record:
    row = from_array("x", np.full((1, columns), value, np.float32))
    asked = PredictRequest("a", servable, version, inputs=(row,))
    return Record(AVRO.encode_request(asked), None, (), "q", 0, 0, 0)


def told(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Return the values of a metric by servable, version and, where there is one, outcome."""
    samples = [sample for family in metrics.registry.collect() for sample in family.samples if sample.name == name]
    return {tuple(sample.labels[label] for label in sample.labels): sample.value for sample in samples}


class Worker:
    """A data path whose versions are known to its metrics."""

    def __init__(self, servables: Mapping[ServableId, Servable], clock: FakeClock | None = None) -> None:
        self.metrics, self.available = Metrics(), {"adder": [1, 2]}
        self.metrics.tell_of_worker("one", lambda: self.available)
        clock = clock or FakeClock()
        manager, route = manager_with(servables, clock), RouteSettings(servable="adder", max_batch_size=8)
        heard = self.metrics.predicted
        self._dispatcher = Dispatcher(route, manager, [AVRO], clock, lambda _: BatchingSettings(), predicted=heard)

    def answer(self, *records: Record) -> None:
        self._dispatcher.answer(self._dispatcher.decode(records))

    @property
    def outcomes(self) -> dict[tuple[str, ...], float]:
        return told(self.metrics, "penstock_predictions_total")


@pytest.fixture
def worker() -> Worker:
    return Worker({FIRST: AddingServable(), SECOND: AddingServable()})


def test_answers_and_errors_are_those_of_the_version_that_made_them(worker: Worker) -> None:
    worker.answer(request(1), request(2, 1), request(13, 2), request(1, 2, columns=3), request(3, 2))
    assert worker.outcomes == {
        ("adder", "1", "ok"): 1,
        ("adder", "2", "ok"): 2,  # one that asked for the newest
        ("adder", "2", "model_error"): 1,
        ("adder", "2", "wrong_shape"): 1,
    }


def test_what_no_version_was_asked_makes_no_labels_whatever_clients_write(worker: Worker) -> None:
    worker.answer(request(1, 7), request(1, servable="made-up"))
    assert worker.outcomes == {}


def test_a_signature_that_a_version_has_not_is_its_error(worker: Worker) -> None:
    row = from_array("x", np.ones((1, 2), np.float32))
    asked = PredictRequest("a", "adder", signature="other", inputs=(row,))
    worker.answer(Record(AVRO.encode_request(asked), None, (), "q", 0, 0, 0))
    assert worker.outcomes == {("adder", "2", "ok"): 0, ("adder", "2", "unknown_signature"): 1}


def test_a_batch_that_is_computed_at_once_is_one_time_and_takes_what_its_calls_take() -> None:
    clock = FakeClock()
    worker = Worker({FIRST: Slow(clock)}, clock)
    worker.answer(*[request(1)] * 8)
    worker.answer(request(1))
    assert told(worker.metrics, "penstock_prediction_seconds_count") == {("adder", "1"): 2}
    assert told(worker.metrics, "penstock_prediction_seconds_sum") == {("adder", "1"): 4.0}


def test_a_version_that_has_gone_is_told_of_once_more_and_then_forgotten(worker: Worker) -> None:
    worker.answer(request(1, 1), request(1, 2))
    worker.available = {"adder": [2]}
    both = {("adder", "1", "ok"): 1, ("adder", "2", "ok"): 1}
    assert worker.outcomes == both
    assert worker.outcomes == both, "another scraper has not seen its last requests yet"
    assert worker.outcomes == {("adder", "2", "ok"): 1}


def test_a_version_that_comes_back_keeps_what_it_had(worker: Worker) -> None:
    worker.answer(request(1, 1))
    worker.available = {"adder": [2]}
    assert worker.outcomes
    worker.available = {"adder": [1, 2]}
    assert worker.outcomes == worker.outcomes == {("adder", "1", "ok"): 1}
