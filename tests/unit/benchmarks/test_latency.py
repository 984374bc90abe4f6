"""An open loop counts from the moment a request was due, and both contenders get the same one."""

from __future__ import annotations

import pytest

from benchmarks.cases.latency import SHARES, levels
from benchmarks.open_loop import first_answers, latencies


def test_a_worker_that_stands_still_makes_every_request_late_that_was_due_meanwhile():
    due_s = [number / 100 for number in range(200)]
    stood_still = dict.fromkeys(range(100), 1.0) | {number: due_s[number] + 0.001 for number in range(100, 200)}
    figures = latencies(due_s, stood_still, 0)
    assert figures["highest_ms"] == pytest.approx(1000)
    assert figures["p99_ms"] == pytest.approx(980)
    assert figures["p50_ms"] == pytest.approx(1.0), "half of them came when nothing stood still"


def test_the_warm_up_is_not_counted_nor_what_was_never_answered():
    due_s = [0.0, 1.0, 2.0, 3.0]
    figures = latencies(due_s, {0: 9.0, 1: 1.25, 3: 3.5}, 1)
    assert figures == {"p50_ms": 250, "p99_ms": 500, "highest_ms": 500}
    with pytest.raises(ValueError, match="none of 3"):
        latencies(due_s, {0: 9.0}, 1)


def test_the_first_answer_to_a_request_counts():
    class Result:
        def __init__(self, key):
            self.key = lambda: key

    class Receiver:
        came = ((1.0, Result(b"request-000000007")), (2.0, Result(b"request-000000007")), (3.0, Result(b"request-8")))

    assert first_answers(Receiver()) == {7: 1.0, 8: 3.0}


def test_every_level_is_as_long_and_the_same_for_both():
    every = levels(10_000, 8_000)
    assert [level.share for level in every[::2]] == [level.share for level in every[1::2]] == list(SHARES)
    assert {(level.rate, level.count) for level in every} == {(5_000, 5_000), (1_000, 1_000), (8_000, 8_000)}
    assert len({level.NAME for level in every}) == len(every)
    assert every[0].NAME == "penstock, 50 %", "the ratio is that of the first two"
