"""Throughput: how fast one worker empties a backlog, against the loop written by hand, with the same guarantee.

The requests lie in the topic before the contender starts, so the load generator takes nothing from it. A tenth on
top of what is asked for is its warm-up (start, first batches, caches) and is not counted. It is done when its group has
committed the last request; then it is stopped in good order, and only then the results are accounted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks import accounting, figures, machine, model, report
from benchmarks.contenders import hand_written, penstock
from benchmarks.harness import alternate
from benchmarks.place import PARTITIONS, Watch
from benchmarks.process import helper

if TYPE_CHECKING:
    from benchmarks.harness import Harness, Rival
    from benchmarks.place import Place
    from benchmarks.process import Contender

NAME: Final = "throughput"
REQUESTS: Final = 200_000
ROUNDS: Final = 5
TARGET: Final = 1.0
_RIVALS: Final = (penstock, hand_written)
_LIMIT_S: Final = 300.0
_REHEARSAL: Final = 20_000


@dataclass(frozen=True)
class Measured:
    """One contender's round."""

    records_per_s: float
    cpu_us: float
    account: accounting.Account
    request_bytes: int
    result_bytes: int


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Measure all rounds and return the report; raises BenchmarkError."""
    warm_up = requests // 10
    for rival in _RIVALS:  # not counted: the broker is cold
        _measure(harness, rival, min(_REHEARSAL, requests))
    measured = alternate(
        _RIVALS,
        rounds,
        lambda rival: _measure(harness, rival, requests + warm_up),
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


def _measure(harness: Harness, rival: Rival, count: int) -> Measured:
    warm_up = count // 11
    with harness.place(rival.NAME) as place:
        produced = helper("benchmarks.produce", place.bootstrap, place.requests, count)
        with harness.running(rival, place) as contender:
            ticks = _watch(contender, place, count)
        collected = helper("benchmarks.collect", place.bootstrap, place.requests, place.results, warm_up)
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
        contender.wait(is_done, f"answering {count} requests", _LIMIT_S)
    finally:
        watch.close()
    return ticks
