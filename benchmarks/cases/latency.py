"""Latency: p50 and p99 of a steady load at 10, 50 and 80 % of what is possible, against the loop written by hand.

The load is an open loop, and a latency runs from the moment a request was due. What is possible is measured first, with
generator, broker and contender at work together; the rates are shares of the lower of the two, and the same for both.
"""

from __future__ import annotations

import statistics
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from benchmarks import accounting, backlog, machine, model, report
from benchmarks.contenders import hand_written, penstock
from benchmarks.figures import each
from benchmarks.harness import alternate
from benchmarks.open_loop import CAPACITY
from benchmarks.place import PARTITIONS
from benchmarks.process import helper

if TYPE_CHECKING:
    from benchmarks.harness import Harness, Rival

NAME: Final = "latency"
REQUESTS: Final = 200_000
ROUNDS: Final = 3
TARGET: Final = 3.0
SHARES: Final = (0.5, 0.1, 0.8)
_RIVALS: Final = (penstock, hand_written)


@dataclass(frozen=True)
class Level:
    """A contender at a share of the capacity."""

    rival: Rival
    share: float
    rate: float
    count: int

    @property
    def NAME(self) -> str:  # noqa: N802  # see Rival
        """What the report calls it."""
        return f"{self.rival.NAME}, {100 * self.share:.0f} %"


@dataclass(frozen=True)
class Measured:
    """One level's round."""

    p50_ms: float
    p99_ms: float
    highest_ms: float
    generator_late_ms: float
    account: accounting.Account


def levels(most: float, requests: int) -> list[Level]:
    """Return every level, each as long as the highest share takes for ``requests``; ``most`` records/s are possible."""
    return [
        Level(rival, share, share * most, max(110, int(requests * share / max(SHARES))))
        for share in SHARES
        for rival in _RIVALS
    ]


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Measure the capacity, then all rounds, and return the report; raises BenchmarkError."""
    capacities = {rival.NAME: capacity(harness, rival, requests) for rival in _RIVALS}
    every = levels(min(capacities.values()), requests)
    measured = alternate(every, rounds, lambda level: _measure(harness, level), _show)
    names = [level.NAME for level in every]
    return report.make(
        case=NAME,
        measure="p99 of an open loop, from when a request was due; the ratio is p99 / p50 at 50 % of the capacity",
        unit="ms",
        target=TARGET,
        better="lower",
        rounds=each(measured, lambda one: one.p99_ms),
        ratio=statistics.median(one.p99_ms / one.p50_ms for one in measured[names[0]]),
        versus=[report.Versus(ours, theirs) for ours, theirs in zip(names[::2], names[1::2], strict=True)],
        others={
            "p50, ms": each(measured, lambda one: one.p50_ms),
            "highest, ms": each(measured, lambda one: one.highest_ms),
            "the generator was late, p99, ms": each(measured, lambda one: one.generator_late_ms),
        },
        descriptions={rival.NAME: rival.DESCRIPTION for rival in _RIVALS},
        accounts=each(measured, lambda one: one.account),
        settings={
            "capacity, records/s": {name: round(rate) for name, rate in capacities.items()},
            "requests_per_s": {level.NAME: round(level.rate) for level in every},
            "requests": {level.NAME: level.count for level in every},
            "warm_up": "two seconds at the same rate before these",
            "partitions": PARTITIONS,
            "openvino": model.OPENVINO,
            "clock": "the client's, from the moment a request was due",
        },
        machine=machine.describe(harness.broker, str(harness.cores)),
    )


def capacity(harness: Harness, rival: Rival, requests: int) -> float:
    """Return the answers per second to requests that come as fast as the broker takes them; raises BenchmarkError."""
    rate: float = _drive(harness, rival, requests, CAPACITY)["records_per_s"]
    return rate


def _measure(harness: Harness, level: Level) -> Measured:
    return Measured(**_drive(harness, level.rival, level.count, level.rate))


def _drive(harness: Harness, rival: Rival, count: int, rate: float | str) -> dict[str, Any]:
    """Return what ``benchmarks.open_loop`` prints, with the account."""
    with harness.place(rival.NAME) as place:
        topics = (place.bootstrap, place.requests, place.results)
        with harness.running(rival, place):
            helper("benchmarks.probe", *topics)
            made: dict[str, Any] = helper("benchmarks.open_loop", *topics, count, rate)
        return {**made, "account": backlog.account(place)}


def _show(_: object, one: Measured) -> str:
    return f"p50 {one.p50_ms:>8.2f} ms  p99 {one.p99_ms:>8.2f} ms  generator late {one.generator_late_ms:.2f} ms (p99)"
