"""Burst: how long a worker takes to work off ten times its usual load, against the loop written by hand.

The load is an open loop at 15 % of what is possible, and for some seconds at 150 %. What is possible is measured first
as in the case ``latency``, and the rates are the same for both.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks import accounting, backlog, machine, model, report
from benchmarks.cases.latency import capacity
from benchmarks.contenders import hand_written, penstock
from benchmarks.figures import each
from benchmarks.harness import alternate
from benchmarks.place import PARTITIONS
from benchmarks.process import helper

if TYPE_CHECKING:
    from benchmarks.harness import Harness, Rival

NAME: Final = "burst"
REQUESTS: Final = 200_000
ROUNDS: Final = 3
TARGET: Final = 1.0
SHARE: Final = 0.15
FACTOR: Final = 10.0
_RIVALS: Final = (penstock, hand_written)


@dataclass(frozen=True)
class Measured:
    """One contender's round; ``disordered`` answers came before one to an earlier request with the same key."""

    drained_s: float
    before_p99_ms: float
    burst_p50_ms: float
    burst_p99_ms: float
    disordered: int
    generator_late_ms: float
    more_mib: float
    account: accounting.Account


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Measure the capacity, then all rounds of ``requests`` in the burst, and return the report.

    Raises BenchmarkError.
    """
    capacities = {rival.NAME: capacity(harness, rival, requests) for rival in _RIVALS}
    rate = SHARE * min(capacities.values())
    burst_s = requests / (FACTOR * rate)
    measured = alternate(_RIVALS, rounds, lambda rival: _measure(harness, rival, rate, burst_s), _show)
    return report.make(
        case=NAME,
        measure="from the end of a burst of ten times the load to the last answer to it",
        unit="s",
        target=TARGET,
        better="lower",
        rounds=each(measured, lambda one: one.drained_s),
        others={
            "p99 before, ms": each(measured, lambda one: one.before_p99_ms),
            "p50 of the burst, ms": each(measured, lambda one: one.burst_p50_ms),
            "p99 of the burst, ms": each(measured, lambda one: one.burst_p99_ms),
            "answers out of their key's order": each(measured, lambda one: one.disordered),
            "memory at most, above that before, MiB": each(measured, lambda one: one.more_mib),
            "the generator was late, p99, ms": each(measured, lambda one: one.generator_late_ms),
        },
        descriptions={rival.NAME: rival.DESCRIPTION for rival in _RIVALS},
        accounts=each(measured, lambda one: one.account),
        settings={
            "capacity, records/s": {name: round(most) for name, most in capacities.items()},
            "requests_per_s": {"before and after": round(rate), "burst": round(FACTOR * rate)},
            "burst, s": round(burst_s, 2),
            "partitions": PARTITIONS,
            "openvino": model.OPENVINO,
            "clock": "the client's, from the moment a request was due",
        },
        machine=machine.describe(harness.broker, str(harness.cores)),
    )


def _measure(harness: Harness, rival: Rival, rate: float, burst_s: float) -> Measured:
    with harness.place(rival.NAME) as place:
        topics = (place.bootstrap, place.requests, place.results)
        with harness.running(rival, place) as contender:
            helper("benchmarks.probe", *topics)
            idle_mib = contender.rss_mib
            made = helper("benchmarks.bursting", *topics, rate, FACTOR, burst_s)
            more_mib = contender.peak_rss_mib - idle_mib
        return Measured(**made, more_mib=more_mib, account=backlog.account(place))


def _show(_: object, one: Measured) -> str:
    return f"drained after {one.drained_s:>6.2f} s  generator late {one.generator_late_ms:.2f} ms (p99)"
