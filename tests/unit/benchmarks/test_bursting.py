"""A burst: when its requests are due, and what is seen of the answers."""

from __future__ import annotations

import pytest

from benchmarks.bursting import schedule, seen


def test_the_burst_is_ten_times_as_dense_and_stands_between_two_calm_times():
    plan = schedule(100, 10, 2)
    assert (plan.start, plan.end, len(plan.due_s)) == (400, 2400, 2900)
    gaps = [after - before for before, after in zip(plan.due_s, plan.due_s[1:], strict=False)]
    assert all(gap == pytest.approx(0.001) for gap in gaps[400:2399])
    assert all(gap == pytest.approx(0.01) for gap in gaps[:399] + gaps[2400:])
    assert plan.due_s[400] == pytest.approx(4.0)
    assert plan.due_s[2400] == pytest.approx(6.0)


def test_what_is_seen_runs_from_when_a_request_was_due():
    plan = schedule(100, 10, 2)
    answers = [(due_s + 0.005, number) for number, due_s in enumerate(plan.due_s)]
    slow = [
        (at_s + (1.0 if plan.start <= number < plan.end else 0.0), number) for number, at_s in enumerate(plan.due_s)
    ]
    assert seen(plan, plan.due_s, answers)["drained_s"] == pytest.approx(0.005)
    found = seen(plan, plan.due_s, slow)
    assert found["drained_s"] == pytest.approx(1.0)
    assert found["burst_p50_ms"] == found["burst_p99_ms"] == pytest.approx(1000)
    assert found["before_p99_ms"] == pytest.approx(0)


def test_an_answer_before_that_to_an_earlier_request_of_its_key_is_out_of_order_and_a_second_one_is_not():
    plan = schedule(1000, 1, 1)
    numbers = [0, 1000, 1, *range(2, 1000), 0, *range(1002, len(plan.due_s)), 1001]
    # 1000 has the key of 0 and comes after it; 1001 has that of 2001, which came before.
    assert seen(plan, plan.due_s, [(1.0, number) for number in numbers])["disordered"] == 1


def test_nothing_answered_is_an_error():
    plan = schedule(100, 10, 2)
    with pytest.raises(ValueError, match="nothing was answered"):
        seen(plan, plan.due_s, [])
