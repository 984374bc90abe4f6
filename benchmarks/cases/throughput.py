"""Throughput: how fast one worker empties a backlog, against the loop written by hand, with the same guarantee.

The requests lie in the topic before the contender starts, so the load generator takes nothing from it. It is done when
its group has committed the last request; then it is stopped in good order, and only then the results are accounted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks import comparison
from benchmarks.contenders import hand_written, penstock

if TYPE_CHECKING:
    from benchmarks import report
    from benchmarks.harness import Harness

NAME: Final = "throughput"
REQUESTS: Final = 200_000
ROUNDS: Final = 5
TARGET: Final = 1.0
_RIVALS: Final = (penstock, hand_written)


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Measure all rounds and return the report; raises BenchmarkError."""
    settings = {"hand_written_batch": hand_written.BATCH_SIZE}
    return comparison.on_kafka(harness, _RIVALS, rounds, requests, case=NAME, target=TARGET, settings=settings)
