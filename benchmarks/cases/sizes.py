"""Sizes: how fast one worker empties a backlog of requests of 100 B to 5 MB, against a loop written by hand.

The model takes the first element of each request and computes nothing, so that only what a byte and what a record
cost is measured. The target is that of the size at which ours is slowest against the loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks import accounting, figures, machine, report
from benchmarks.backlog import CLOCK, watch_commits
from benchmarks.cases import backlog
from benchmarks.contenders import first_element
from benchmarks.figures import each
from benchmarks.harness import alternate
from benchmarks.place import PARTITIONS

if TYPE_CHECKING:
    from benchmarks.harness import Harness, Rival

NAME: Final = "sizes"
# Of the small ones; of large ones as many as make _MOST_BYTES.
REQUESTS: Final = 200_000
ROUNDS: Final = 3
TARGET: Final = 1.0
SIZES: Final = {"100 B": 100, "1 kB": 1_000, "10 kB": 10_000, "100 kB": 100_000, "1 MB": 1_000_000, "5 MB": 5_000_000}
_MOST_BYTES: Final = 1_000_000_000
_LEAST: Final = 110


@dataclass(frozen=True)
class Size:
    """One size, to be asked of both."""

    NAME: str
    request_bytes: int
    ours: backlog.Rival


@dataclass(frozen=True)
class Answered:
    """What one of the two did."""

    records_per_s: float
    cpu_us: float
    account: accounting.Account


@dataclass(frozen=True)
class Measured:
    """One size's round."""

    ours: Answered
    theirs: Answered

    @property
    def ratio(self) -> float:
        """Ours to the loop."""
        return self.ours.records_per_s / self.theirs.records_per_s


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Measure all rounds and return the report; raises BenchmarkError."""
    folder = harness.models.parent
    sizes = [
        Size(name, size, backlog.Rival(f"penstock-{size}", folder / str(size), size)) for name, size in SIZES.items()
    ]
    _measure(harness, sizes[0], requests // 10)  # not counted: the broker is cold
    measured = alternate(sizes, rounds, lambda size: _measure(harness, size, requests), _show)
    ratios = each(measured, lambda one: one.ratio)
    return report.make(
        case=NAME,
        measure="answers of one worker / of the loop written by hand; the size at which that is least",
        unit="ratio",
        target=TARGET,
        better="higher",
        rounds=ratios,
        ratio=min(figures.spread(several)["median"] for several in ratios.values()),
        others={
            "records/s": each(measured, lambda one: one.ours.records_per_s),
            "records/s, by hand": each(measured, lambda one: one.theirs.records_per_s),
            "MB/s": {name: [one.ours.records_per_s * SIZES[name] / 1e6 for one in measured[name]] for name in measured},
            "CPU microseconds a record": each(measured, lambda one: one.ours.cpu_us),
            "CPU microseconds a record, by hand": each(measured, lambda one: one.theirs.cpu_us),
        },
        descriptions={"penstock": backlog.Rival.DESCRIPTION, "by hand": first_element.Loop.DESCRIPTION},
        accounts={
            **{f"penstock, {name}": [one.ours.account for one in several] for name, several in measured.items()},
            **{f"by hand, {name}": [one.theirs.account for one in several] for name, several in measured.items()},
        },
        settings={
            "requests": {name: count(size, requests) for name, size in SIZES.items()},
            "partitions": PARTITIONS,
            "clock": CLOCK,
        },
        machine=machine.describe(harness.broker, str(harness.cores)),
    )


def count(request_bytes: int, requests: int) -> int:
    """Return how many requests of a size are asked."""
    return max(_LEAST, min(requests, _MOST_BYTES // request_bytes * requests // REQUESTS))


def _measure(harness: Harness, size: Size, requests: int) -> Measured:
    asked = count(size.request_bytes, requests)
    rivals = (size.ours, first_element.Loop(size.request_bytes))
    ours, theirs = (_answer(harness, rival, size.request_bytes, asked) for rival in rivals)
    return Measured(ours, theirs)


def _answer(harness: Harness, rival: Rival, request_bytes: int, asked: int) -> Answered:
    with harness.place(rival.NAME) as place:
        backlog.produce(place, asked, request_bytes)
        with harness.running(rival, place) as contender:
            ticks = watch_commits([contender], place, asked)
        made = backlog.collect(place, asked)
    cpu_us = figures.cpu_us_per_record(ticks, asked // 11) or 0.0
    return Answered(made["records_per_s"], cpu_us, made["account"])


def _show(_: object, one: Measured) -> str:
    return (
        f"{one.ours.records_per_s:>9,.0f} records/s  by hand {one.theirs.records_per_s:>9,.0f}  ratio {one.ratio:.2f}"
    )
