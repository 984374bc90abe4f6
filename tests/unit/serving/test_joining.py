"""How many batches are computed together follows from what the last computation came to."""

from __future__ import annotations

import itertools

import pytest

from pipeline.serving.joining import Joining
from pipeline.settings import CircuitSettings, RouteSettings


def settled(it: Joining, streams: int, pace_s: float) -> list[int]:
    """Return what it comes to, step by step, under a backlog of requests that each take so long."""
    found = [it.together]
    for _ in range(10):
        requests = 512 * it.together
        it.note(requests, min(streams, requests), requests * pace_s)
        found.append(it.together)
    return found


@pytest.mark.parametrize("streams", [1, 4, 16])
def test_batches_that_bring_each_stream_enough_stay_alone(streams: int) -> None:
    it = Joining(RouteSettings())
    assert settled(it, streams, 5e-6) == [1] * 11
    assert it.more_in_flight == 0


def test_many_streams_share_several_batches_that_become_more_by_and_by() -> None:
    found = settled(Joining(RouteSettings()), 1000, 5e-6)
    assert all(after <= 4 * before for before, after in itertools.pairwise(found))
    assert found[-1] > 16
    assert settled(Joining(RouteSettings()), 100, 5e-6)[-1] == 100 * 32 // 512


@pytest.mark.parametrize("batches", [1, 4, 5])
def test_what_is_in_flight_then_is_sixteen_times_what_a_route_may_have_in_flight_at_most(batches: int) -> None:
    it = Joining(RouteSettings(max_batches_in_flight=batches))
    settled(it, 10**9, 1e-9)
    assert 15 * batches <= it.more_in_flight + batches <= 16 * batches


def test_what_is_computed_together_is_no_more_than_a_quarter_of_a_second_of_work() -> None:
    it = Joining(RouteSettings())
    assert settled(it, 1000, 1e-4)[-1] == 9  # 4,608 requests are 0.46 s
    it.note(512 * 9, 1000, 20.0)
    assert it.together == 1
    assert settled(it, 1000, 1e-2)[-1] == 1


def test_an_idle_worker_computes_one_batch_at_a_time() -> None:
    it = Joining(RouteSettings())
    it.note(1, 1, 0.001)
    assert it.together == 1
    it.note(0, 0, 0.0)
    assert it.together == 1


def test_a_route_with_a_circuit_computes_one_batch_at_a_time() -> None:
    it = Joining(RouteSettings(circuit=CircuitSettings(after_batches=3)))
    assert settled(it, 1000, 5e-6) == [1] * 11
