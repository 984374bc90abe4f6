"""Throughput: how fast one worker empties a backlog, against the loop written by hand, with the same guarantee.

The requests lie in the topic before the contender starts, so the load generator takes nothing from it. A tenth on
top of what is asked for is its warm-up (start, first batches, caches) and is not counted. It is done when its group has
committed the last request; then it is stopped in good order, and only then the results are accounted.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks import machine, model, report
from benchmarks.cases import backlog
from benchmarks.contenders import hand_written, penstock
from benchmarks.harness import alternate
from benchmarks.place import PARTITIONS

if TYPE_CHECKING:
    from benchmarks.harness import Harness

NAME: Final = "throughput"
REQUESTS: Final = 200_000
ROUNDS: Final = 5
TARGET: Final = 1.0
_RIVALS: Final = (penstock, hand_written)
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
    last = measured[penstock.NAME][-1]
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
            "hand_written_batch": hand_written.BATCH_SIZE,
            "request_bytes": last.request_bytes,
            "result_bytes": {name: several[-1].result_bytes for name, several in measured.items()},
            "clock": "the broker's timestamps of the results",
        },
        machine=machine.describe(harness.broker, str(harness.cores)),
    )
