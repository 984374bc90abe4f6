"""From measurements to the figures that are printed: pure functions."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, TypedDict, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Round = TypeVar("Round")
Figure = TypeVar("Figure")


class Spread(TypedDict):
    """The median of several rounds, with the worst and the best beside it, and every round in the order of the run."""

    median: float
    min: float
    max: float
    rounds: list[float]


def each(measured: Mapping[str, Sequence[Round]], figure: Callable[[Round], Figure]) -> dict[str, list[Figure]]:
    """Return one figure of every round, by contender."""
    return {name: [figure(one) for one in rounds] for name, rounds in measured.items()}


def spread(rounds: Sequence[float]) -> Spread:
    """Return the spread of at least one round."""
    return Spread(median=statistics.median(rounds), min=min(rounds), max=max(rounds), rounds=list(rounds))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest of the values that ``percent`` of them do not exceed (nearest rank); one value at least."""
    ordered = sorted(values)
    rank = -(-len(ordered) * percent // 100)
    return ordered[max(0, int(rank) - 1)]


def steady_rate(timestamps_ms: Sequence[int], warm_up: int) -> float:
    """Return records/s from the first result after the warm-up to the last result.

    ``timestamps_ms``: when the broker took each result, in any order. The first ``warm_up`` of them, at least one, are
    not counted, and the last of these starts the clock; nor is what shares its millisecond, for it was there already.
    """
    ordered = sorted(timestamps_ms)
    start_ms = ordered[max(1, warm_up) - 1]
    duration_ms = ordered[-1] - start_ms
    if duration_ms <= 0:
        raise ValueError(f"{len(ordered)} results within a millisecond after a warm-up of {warm_up}: ask for more")
    return 1000 * sum(at_ms > start_ms for at_ms in ordered) / duration_ms


def cpu_us_per_record(ticks: Sequence[tuple[int, float]], warm_up: int) -> float | None:
    """Return CPU microseconds a record, user and system, after the warm-up; None where nothing was seen of it.

    ``ticks``: (records done so far, CPU seconds used so far), both growing.
    """
    steady = [tick for tick in ticks if tick[0] >= warm_up]
    if len(steady) < 2 or steady[-1][0] == steady[0][0]:
        return None
    (done, start_s), (all_done, end_s) = steady[0], steady[-1]
    return (end_s - start_s) / (all_done - done) * 1e6
