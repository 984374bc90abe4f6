"""Rivals that empty the same backlog, in turn: what the cases are made of that differ in who the rivals are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import backlog, machine, model, report
from benchmarks.backlog import Backlog
from benchmarks.figures import each
from benchmarks.harness import alternate
from benchmarks.place import PARTITIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from benchmarks.backlog import Measured
    from benchmarks.harness import Harness, Rival


def compare(
    harness: Harness,
    rivals: Sequence[Rival],
    rounds: int,
    requests: int,
    empty: Callable[[Rival, int], Measured],
    *,
    case: str,
    target: float,
    measure: str,
    what: str,
    broker: str,
    settings: Mapping[str, object],
) -> report.Report:
    """Have each rival empty backlogs of the MLP's requests, in turn, and return the report; raises BenchmarkError.

    ``empty`` measures one round of so many requests, the first eleventh not counted (start, first batches, caches); it
    comes on top of ``requests``. ``what``: "record" or "request", for the unit; ``settings`` are what the report says
    beside those that all such cases have.
    """
    warm_up = requests // 10
    for rival in rivals:  # not counted: the broker is cold
        empty(rival, min(backlog.REHEARSAL, requests))
    measured = alternate(
        rivals,
        rounds,
        lambda rival: empty(rival, requests + warm_up),
        lambda _, one: f"{one.records_per_s:>9,.0f} {what}s/s  {one.cpu_us:>6.1f} CPU us a {what}",
    )
    return report.make(
        case=case,
        measure=measure,
        unit=f"{what}s/s",
        target=target,
        better="higher",
        rounds=each(measured, lambda one: one.records_per_s),
        others={f"CPU microseconds a {what}": each(measured, lambda one: one.cpu_us)},
        descriptions={rival.NAME: rival.DESCRIPTION for rival in rivals},
        accounts=each(measured, lambda one: one.account),
        settings={
            "requests": requests,
            "warm_up_requests": warm_up,
            "model": model.DESCRIPTION,
            "openvino": model.OPENVINO,
            "request_bytes": measured[rivals[0].NAME][-1].request_bytes,
            "result_bytes": {name: several[-1].result_bytes for name, several in measured.items()},
            **settings,
        },
        machine=machine.describe(broker, str(harness.cores)),
    )


def on_kafka(
    harness: Harness,
    rivals: Sequence[Rival],
    rounds: int,
    requests: int,
    *,
    case: str,
    target: float,
    settings: Mapping[str, object],
) -> report.Report:
    """As ``compare``, with a backlog on Kafka."""
    return compare(
        harness,
        rivals,
        rounds,
        requests,
        lambda rival, count: backlog.measure(harness, rival, Backlog(count)),
        case=case,
        target=target,
        measure="answers while a backlog is emptied",
        what="record",
        broker=harness.broker,
        settings={"partitions": PARTITIONS, "clock": backlog.CLOCK, **settings},
    )
