"""A request whose deadline has passed is answered as such and never computed, wherever it waited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from pipeline.codecs.avro_codec import AvroCodec
from pipeline.connector import Record
from pipeline.records import PredictRequest, PredictResult
from pipeline.registry.servable import ServableId
from pipeline.serving.dispatcher import Dispatcher
from pipeline.settings import BatchingSettings, RouteSettings
from pipeline.tensors import Array, from_array
from pipeline.testing.fakes import AddingServable, FakeClock, manager_with

AVRO = AvroCodec()
CALL_S = 1.0


class Slow(AddingServable):
    """Each call takes a second of a clock that is set by hand; notes the first number of each row that it computed."""

    def __init__(self, clock: FakeClock) -> None:
        super().__init__()
        self._clock = clock
        self.computed: list[int] = []

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        self._clock.advance(CALL_S)
        self.computed += [int(row[0]) for row in inputs["x"]]
        return super().predict(signature, inputs)


class Stage:
    def __init__(self, **batching: Any) -> None:
        self.clock = FakeClock()
        self.servable = Slow(self.clock)
        manager = manager_with({ServableId("adder", 1): self.servable}, self.clock)
        route = RouteSettings(servable="adder", request_topic="q", result_topic="r")
        self.dispatcher = Dispatcher(route, manager, [AVRO], self.clock, lambda _: BatchingSettings(**batching))

    def decode(self, *requests: PredictRequest) -> Any:
        values = [AVRO.encode_request(it) for it in requests]
        return self.dispatcher.decode([Record(it, None, (), "q", 0, n, 0) for n, it in enumerate(values)])

    def answer(self, batch: Any) -> list[PredictResult]:
        return [AVRO.decode_result(answer.value) for answer in self.dispatcher.answer(batch)]

    def request(self, number: int, in_s: float | None = None, rows: int = 1, **more: Any) -> PredictRequest:
        deadline = None if in_s is None else self.clock.unix_ms() + int(in_s * 1000)
        data = np.full((rows, 2), number, np.float32)
        return PredictRequest(str(number), deadline_ms=deadline, inputs=(from_array("x", data),), **more)


def codes(results: list[PredictResult]) -> list[str | None]:
    return [result.error and result.error.code for result in results]


def test_one_that_expires_between_decode_and_compute_is_not_computed():
    """That is where it waits for the batches before its own."""
    stage = Stage()
    batch = stage.decode(stage.request(1, 5), stage.request(2, 15), stage.request(3))
    stage.clock.advance(10)
    assert codes(stage.answer(batch)) == ["deadline_exceeded", None, None]
    assert stage.servable.computed == [2, 3]


def test_one_that_expires_while_earlier_calls_of_its_batch_are_made_is_not_computed():
    stage = Stage(max_rows=1)
    batch = stage.decode(*[stage.request(number, 2.5) for number in range(5)])
    assert codes(stage.answer(batch)) == [None, None, None, "deadline_exceeded", "deadline_exceeded"]
    assert stage.servable.computed == [0, 1, 2]


def test_it_leaves_its_neighbours_of_the_same_call_their_answers():
    stage = Stage(max_rows=2)
    batch = stage.decode(*[stage.request(number, 0.5 if number == 2 else None) for number in range(4)])
    results = stage.answer(batch)
    assert codes(results) == [None, None, "deadline_exceeded", None]
    assert results[3].outputs[0].array().tolist() == [6.0]
    assert stage.servable.calls == [2, 1]


def test_one_that_expires_while_the_requests_of_another_signature_are_computed_is_not_computed():
    stage = Stage()
    batch = stage.decode(stage.request(1), stage.request(2, 0.5, version=1))
    assert codes(stage.answer(batch)) == [None, "deadline_exceeded"]
    assert stage.servable.computed == [1]


def test_a_large_one_that_expires_between_its_own_calls_is_one_error():
    stage = Stage(max_rows=2)
    batch = stage.decode(stage.request(1, 1.5, rows=7), stage.request(2))
    assert codes(stage.answer(batch)) == ["deadline_exceeded", None]
    assert stage.servable.computed == [1] * 4 + [2]


def test_one_that_expires_while_the_culprit_of_its_call_is_looked_for_is_not_computed_again():
    stage = Stage()
    batch = stage.decode(stage.request(1), stage.request(13), stage.request(2, 1.5), stage.request(3))
    assert codes(stage.answer(batch)) == [None, "model_error", "deadline_exceeded", None]


@pytest.mark.parametrize("early_ms", [0, 1])
def test_at_the_very_deadline_it_is_computed(early_ms: int):
    stage = Stage()
    request = PredictRequest("a", deadline_ms=stage.clock.unix_ms() + early_ms, inputs=stage.request(1).inputs)
    assert codes(stage.answer(stage.decode(request))) == [None]
