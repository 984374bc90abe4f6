"""How fast a contender was, by how much it had done at each look."""

from __future__ import annotations

from benchmarks.redis_place import rate_after


def test_the_rate_is_that_of_what_came_after_the_warm_up() -> None:
    ticks = [(0.0, 0), (1.0, 5), (2.0, 10), (3.0, 60), (4.0, 110), (5.0, 110)]
    assert rate_after(ticks, 10, 110) == 50.0


def test_there_is_no_rate_where_nothing_came_after_it() -> None:
    assert rate_after([(0.0, 0), (1.0, 110)], 10, 110) == 0.0
    assert rate_after([(0.0, 0)], 10, 110) == 0.0
