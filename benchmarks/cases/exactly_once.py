"""Exactly-once: how fast one worker empties a backlog in transactions, against itself without them.

As in the case ``throughput``: the backlog lies in the topic before, the clock is the broker's, and results are read as
a client reads them, committed ones only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks import comparison
from benchmarks.contenders.penstock import Worker

if TYPE_CHECKING:
    from benchmarks import report
    from benchmarks.harness import Harness

NAME: Final = "exactly-once"
REQUESTS: Final = 200_000
ROUNDS: Final = 5
TARGET: Final = 0.7
_RIVALS: Final = tuple(
    Worker(guarantee, f"penstock worker --watch, guarantee: {guarantee}, default settings", {"guarantee": guarantee})
    for guarantee in ("exactly_once", "at_least_once")
)


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Measure all rounds and return the report; raises BenchmarkError."""
    settings = {"reader": "isolation.level=read_committed"}
    return comparison.on_kafka(harness, _RIVALS, rounds, requests, case=NAME, target=TARGET, settings=settings)
