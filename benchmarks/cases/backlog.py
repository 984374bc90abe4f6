"""One measurement: a backlog of requests, a contender that empties it, and the account of what it answered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks import accounting, figures
from benchmarks.place import Watch
from benchmarks.process import helper

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.harness import Harness, Rival
    from benchmarks.place import Place
    from benchmarks.process import Contender

LIMIT_S: Final = 300.0


@dataclass(frozen=True)
class Measured:
    """One contender's round."""

    records_per_s: float
    cpu_us: float
    account: accounting.Account
    request_bytes: int
    result_bytes: int


def measure(harness: Harness, rival: Rival, count: int, load: tuple[str, Path] | None = None) -> Measured:
    """Return how fast ``rival`` answers ``count`` requests, the first eleventh not counted; raises BenchmarkError.

    ``load``: the name of a workload other than the MLP, and the file with the answers that are expected.
    """
    warm_up = count // 11
    with harness.place(rival.NAME) as place:
        produced = helper("benchmarks.produce", place.bootstrap, place.requests, count, *(load or ())[:1])
        with harness.running(rival, place) as contender:
            ticks = _watch(contender, place, count)
        collected = helper("benchmarks.collect", place.bootstrap, place.requests, place.results, warm_up, *(load or ()))
        account: accounting.Account = collected["account"]
        watch = Watch(place, place.requests)
        account["uncommitted"] = watch.end() - watch.committed()
        watch.close()
    return Measured(
        collected["records_per_s"],
        figures.cpu_us_per_record(ticks, warm_up) or 0.0,
        account,
        produced["request_bytes"],
        collected["result_bytes"],
    )


def _watch(contender: Contender, place: Place, count: int) -> list[tuple[int, float]]:
    """Return (records committed, CPU seconds) over time, up to the last record."""
    ticks: list[tuple[int, float]] = []
    watch = Watch(place, place.requests)

    def is_done() -> bool:
        ticks.append((watch.committed(), contender.cpu_s))
        return ticks[-1][0] >= count

    try:
        contender.wait(is_done, f"answering {count} requests", LIMIT_S)
    finally:
        watch.close()
    return ticks
