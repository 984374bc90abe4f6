"""Exactly-once: how fast one worker empties a backlog in transactions, against itself without them.

As in the case ``throughput``: the backlog lies in the topic before, the clock is the broker's, and results are read as
a client reads them, committed ones only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks import machine, model, report
from benchmarks.cases import backlog
from benchmarks.contenders.guaranteed import Guaranteed
from benchmarks.harness import alternate
from benchmarks.place import PARTITIONS

if TYPE_CHECKING:
    from benchmarks.harness import Harness

NAME: Final = "exactly-once"
REQUESTS: Final = 200_000
ROUNDS: Final = 5
TARGET: Final = 0.7
_RIVALS: Final = (Guaranteed("exactly_once"), Guaranteed("at_least_once"))
_REHEARSAL: Final = 20_000


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Measure all rounds and return the report; raises BenchmarkError."""
    warm_up = requests // 10
    for rival in _RIVALS:  # not counted: the broker is cold
        backlog.measure(harness, rival, min(_REHEARSAL, requests))
    measured = alternate(
        _RIVALS,
        rounds,
        lambda rival: backlog.measure(harness, rival, requests + warm_up),
        lambda _, one: f"{one.records_per_s:>9,.0f} records/s  {one.cpu_us:>6.1f} CPU us a record",
    )
    return report.make(
        case=NAME,
        measure="answers while a backlog is emptied",
        unit="records/s",
        target=TARGET,
        better="higher",
        rounds={name: [one.records_per_s for one in several] for name, several in measured.items()},
        others={
            "CPU microseconds a record": {name: [one.cpu_us for one in several] for name, several in measured.items()}
        },
        descriptions={rival.NAME: rival.DESCRIPTION for rival in _RIVALS},
        accounts={name: [one.account for one in several] for name, several in measured.items()},
        settings={
            "requests": requests,
            "warm_up_requests": warm_up,
            "partitions": PARTITIONS,
            "model": f"{model.FEATURES}->{model.HIDDEN}->{model.CLASSES} MLP, one row a request",
            "openvino": dict(model.OPENVINO),
            "clock": "the broker's timestamps of the results",
            "reader": "isolation.level=read_committed",
        },
        machine=machine.describe(harness.broker, str(harness.cores)),
    )
