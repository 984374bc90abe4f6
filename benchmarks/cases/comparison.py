"""Rivals that empty the same backlog, in turn: what the cases are made of that differ in who the rivals are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks import machine, model, report
from benchmarks.cases import backlog
from benchmarks.cases.backlog import Backlog
from benchmarks.harness import alternate
from benchmarks.place import PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.harness import Harness, Rival

_REHEARSAL: Final = 20_000


def compare(
    harness: Harness,
    rivals: Sequence[Rival],
    rounds: int,
    requests: int,
    *,
    case: str,
    target: float,
    settings: dict[str, object],
) -> report.Report:
    """Have each rival empty backlogs of the MLP's requests, in turn, and return the report; raises BenchmarkError.

    A tenth on top of ``requests`` is the warm-up of each round (start, first batches, caches) and is not counted.
    ``settings`` are what the report says beside those that all such cases have.
    """
    warm_up = requests // 10
    for rival in rivals:  # not counted: the broker is cold
        backlog.measure(harness, rival, Backlog(min(_REHEARSAL, requests)))
    measured = alternate(
        rivals,
        rounds,
        lambda rival: backlog.measure(harness, rival, Backlog(requests + warm_up)),
        lambda _, one: f"{one.records_per_s:>9,.0f} records/s  {one.cpu_us:>6.1f} CPU us a record",
    )
    return report.make(
        case=case,
        measure="answers while a backlog is emptied",
        unit="records/s",
        target=target,
        better="higher",
        rounds={name: [one.records_per_s for one in several] for name, several in measured.items()},
        others={
            "CPU microseconds a record": {name: [one.cpu_us for one in several] for name, several in measured.items()}
        },
        descriptions={rival.NAME: rival.DESCRIPTION for rival in rivals},
        accounts={name: [one.account for one in several] for name, several in measured.items()},
        settings={
            "requests": requests,
            "warm_up_requests": warm_up,
            "partitions": PARTITIONS,
            "model": f"{model.FEATURES}->{model.HIDDEN}->{model.CLASSES} MLP, one row a request",
            "openvino": dict(model.OPENVINO),
            "request_bytes": measured[rivals[0].NAME][-1].request_bytes,
            "result_bytes": {name: several[-1].result_bytes for name, several in measured.items()},
            "clock": "the broker's timestamps of the results",
            **settings,
        },
        machine=machine.describe(harness.broker, str(harness.cores)),
    )
