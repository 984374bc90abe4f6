"""Scaling: two worker processes of one group against one, on a network of ResNet-50's size, one thread each.

Each worker has a core of its own. Beside it, for the record, two workers on the small MLP, where the broker takes one
of two cores already, and one worker on 1 to 256 partitions.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import backlog, machine, report
from benchmarks.backlog import Backlog
from benchmarks.contenders import penstock
from benchmarks.contenders.serving import Serving
from benchmarks.figures import each
from benchmarks.harness import alternate
from benchmarks.place import PARTITIONS
from benchmarks.process import Cores, helper

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.backlog import Measured
    from benchmarks.harness import Harness, Rival
    from benchmarks.place import Place
    from benchmarks.process import Contender

NAME: Final = "scaling"
# Images; of the MLP's rows so many times as many.
REQUESTS: Final = 240
ROWS_PER_IMAGE: Final = 500
ROUNDS: Final = 3
TARGET: Final = 1.7
_PARTITIONS: Final = (1, 2, 4, 8, 16, 64, 256)
_BATCH: Final = 8
_READY_S: Final = 120.0


@dataclass(frozen=True)
class Fleet:
    """So many workers of one group, and what they are asked."""

    NAME: str
    rival: Rival
    workers: int
    asked: Backlog


def fleets(images: Serving, requests: int) -> list[Fleet]:
    """Return what is measured; the first two are those of the target."""
    heavy = Backlog(requests + requests // 10, images.load.name, images.expected)
    rows = ROWS_PER_IMAGE * requests
    small = Backlog(rows + rows // 10)
    return [
        *(Fleet(f"resnet50, {_workers(workers)}", images, workers, heavy) for workers in (2, 1)),
        *(Fleet(f"mlp, {_workers(workers)}", penstock, workers, small) for workers in (2, 1)),
        *(
            Fleet(f"mlp, {partitions} partitions", penstock, 1, Backlog(small.count, partitions=partitions))
            for partitions in _PARTITIONS
        ),
    ]


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Measure all rounds and return the report; raises BenchmarkError."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        version = Path(folder, "resnet50", "1")
        for action in ("write", "answer"):
            helper("benchmarks.bare", action, "openvino", "resnet50", version)
        every = fleets(Serving("openvino", "resnet50", version.parent, _BATCH), requests)
        backlog.rehearse(harness, penstock, ROWS_PER_IMAGE * requests)
        measured = alternate(every, rounds, lambda fleet: _measure(harness, fleet), _show)
    return report.make(
        case=NAME,
        measure="rows a second; the ratio is two workers on ResNet-50 to one",
        unit="rows/s",
        target=TARGET,
        better="higher",
        rounds=each(measured, lambda one: one.records_per_s),
        versus=[
            report.Versus("mlp, 2 workers", "mlp, 1 worker"),
            *(
                report.Versus(f"mlp, {partitions} partitions", f"mlp, {PARTITIONS} partitions")
                for partitions in _PARTITIONS
                if partitions != PARTITIONS
            ),
        ],
        others={
            "CPU microseconds a row": each(measured, lambda one: one.cpu_us),
            "peak memory of all workers, MiB": each(measured, lambda one: one.peak_rss_mib),
        },
        descriptions={fleet.NAME: fleet.rival.DESCRIPTION for fleet in every},
        accounts=each(measured, lambda one: one.account),
        settings={
            "requests": {fleet.NAME: fleet.asked.count for fleet in every},
            "warm_up": "the first eleventh of these",
            "partitions": PARTITIONS,
            "inference_threads": 1,
            "clock": backlog.CLOCK,
        },
        machine=machine.describe(harness.broker, _pinned(harness.cores)),
    )


def _pinned(cores: Cores) -> str:
    return "one core to each worker; broker and load to all but the first" if cores.contender else str(cores)


def core_for(number: int, cores: Sequence[int]) -> Cores:
    """Return the core of the ``number``-th worker; where nobody is bound, there are no ``cores``, and it has none."""
    return Cores(frozenset({cores[number % len(cores)]} if cores else ()), frozenset())


def _measure(harness: Harness, fleet: Fleet) -> Measured:
    everyone = sorted(harness.cores.contender | harness.cores.others)
    cores = [core_for(number, everyone) for number in range(fleet.workers)]
    return backlog.measure_up(harness, [fleet.rival] * fleet.workers, fleet.asked, _wait_for_group, cores)


def _wait_for_group(contenders: Sequence[Contender], place: Place) -> None:
    """Return when each worker has a partition."""

    def is_shared() -> bool:
        assigned = place.assigned()
        return len(assigned) == len(contenders) and all(assigned) and sum(assigned) == place.partitions

    contenders[-1].wait(is_shared, "sharing the partitions", _READY_S)


def _show(_: object, one: Measured) -> str:
    return f"{one.records_per_s:>10,.2f} rows/s  {one.cpu_us:>10,.1f} CPU us a row"
