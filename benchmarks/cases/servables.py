"""Servables: rows a second through Kafka against the bare runtime, on one core, the same batches and threads.

ResNet-50 in the size of the original with random weights, on OpenVINO, TensorFlow and PyTorch: the target is that of
the slowest. Beside it, for the record, the small MLP of the other cases by every kind that can be one.
"""

from __future__ import annotations

import os
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import accounting, backlog, machine, report
from benchmarks.backlog import Backlog
from benchmarks.contenders.serving import Serving
from benchmarks.figures import each
from benchmarks.harness import alternate
from benchmarks.process import helper
from benchmarks.workload import MLP

if TYPE_CHECKING:
    from benchmarks.harness import Harness

NAME: Final = "servables"
# Images; of the MLP's rows a hundred times as many.
REQUESTS: Final = 240
ROUNDS: Final = 3
TARGET: Final = 0.97
_HEAVY: Final = ("openvino", "tensorflow", "torch")
_SMALL: Final = ("openvino", "onnxruntime", "tensorflow", "torch", "numpy")
_BATCH: Final = 8
_SMALL_BATCH: Final = 512
_BARE_S: Final = 10.0


@dataclass(frozen=True)
class Measured:
    """One runtime's round."""

    served: float
    bare: float
    account: accounting.Account


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Measure all rounds and return the report; raises BenchmarkError."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        images = [_prepare(Path(folder), name, "resnet50", _BATCH) for name in _HEAVY]
        rows = [_prepare(Path(folder), name, MLP.name, _SMALL_BATCH) for name in _SMALL]
        heavy = alternate(images, rounds, lambda one: _measure(harness, one, requests), _show)
        small = alternate(rows, rounds, lambda one: _measure(harness, one, 100 * requests), _show)
    ratios = each(heavy, lambda one: one.served / one.bare)
    return report.make(
        case=NAME,
        measure="ResNet-50, images a second through Kafka / by the bare runtime",
        unit="ratio",
        target=TARGET,
        better="higher",
        rounds=ratios,
        ratio=min(statistics.median(several) for several in ratios.values()),
        others={
            "images/s through Kafka": each(heavy, lambda one: one.served),
            "images/s by the bare runtime": each(heavy, lambda one: one.bare),
            "MLP, rows/s through Kafka": each(small, lambda one: one.served),
            "MLP, rows/s by the bare runtime": each(small, lambda one: one.bare),
        },
        descriptions={one.NAME: one.DESCRIPTION for one in images},
        accounts={
            **{f"{name}, images": accounts for name, accounts in each(heavy, lambda one: one.account).items()},
            **{f"{name}, MLP": accounts for name, accounts in each(small, lambda one: one.account).items()},
        },
        settings={
            "images": requests,
            "rows": 100 * requests,
            "batch": {"images": _BATCH, "rows": _SMALL_BATCH},
            "threads": 1,
            "clock": "the broker's timestamps of the results; the bare runtime's own",
        },
        machine=machine.describe(harness.broker, str(harness.cores)),
    )


def _prepare(folder: Path, runtime: str, network: str, batch: int) -> Serving:
    base_path = folder / f"{runtime}-{network}"
    for action in ("write", "answer"):  # one after the other: threads are set before a framework has done anything
        helper("benchmarks.bare", action, runtime, network, base_path / "1")
    return Serving(runtime, network, base_path, batch)


def _measure(harness: Harness, one: Serving, requests: int) -> Measured:
    """Measure the bare runtime just before, on the contender's core."""
    version = one.base_path / "1"
    others = os.sched_getaffinity(0)
    os.sched_setaffinity(0, harness.cores.contender or others)
    try:
        bare = helper("benchmarks.bare", "rate", one.runtime, one.network, version, one.batch, _BARE_S)
    finally:
        os.sched_setaffinity(0, others)
    asked = Backlog(requests + requests // 10, one.load.name, one.expected)
    served = backlog.measure(harness, one, asked)
    return Measured(served.records_per_s, bare["rows_per_s"], served.account)


def _show(_: object, one: Measured) -> str:
    return f"{one.served:>10,.2f} rows/s  bare {one.bare:>10,.2f}  ratio {one.served / one.bare:.3f}"
