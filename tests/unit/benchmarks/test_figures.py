"""From measurements to figures."""

from __future__ import annotations

import pytest

from benchmarks.figures import cpu_us_per_record, percentile, spread, steady_rate


def test_a_spread_keeps_its_rounds_in_order():
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0, "rounds": [3.0, 1.0, 2.0]}


@pytest.mark.parametrize(("percent", "expected"), [(50, 50), (99, 99), (100, 100), (1, 1), (0.5, 1)])
def test_a_percentile_is_the_nearest_rank(percent, expected):
    assert percentile(list(range(100, 0, -1)), percent) == expected


def test_the_percentile_of_one_value_is_that_value():
    assert percentile([7.0], 99) == 7.0


def test_the_rate_counts_what_came_after_the_warm_up():
    # 10 in the first second, one each 100 ms; then 20 in one second, one each 50 ms
    warm_up = [100 * n for n in range(10)]
    steady = [900 + 50 * n for n in range(1, 21)]
    assert steady_rate([*steady, *warm_up], 10) == 20.0


def test_results_that_share_the_first_millisecond_are_not_counted():
    assert steady_rate([0, 1000, 1000, 1000, 2000, 2000], 2) == 2.0


def test_without_a_warm_up_the_first_result_starts_the_clock():
    assert steady_rate([0, 500, 1000], 0) == 2.0


def test_results_within_one_millisecond_make_no_rate():
    with pytest.raises(ValueError, match="ask for more"):
        steady_rate([5, 5, 5], 1)


def test_cpu_time_counts_after_the_warm_up():
    assert cpu_us_per_record([(0, 3.0), (50, 4.0), (100, 4.5), (1100, 5.5)], 100) == pytest.approx(1000)


@pytest.mark.parametrize("ticks", [[], [(0, 1.0)], [(0, 1.0), (100, 2.0)], [(100, 2.0), (100, 3.0)]])
def test_cpu_time_that_was_not_seen_is_unknown(ticks):
    assert cpu_us_per_record(ticks, 100) is None
