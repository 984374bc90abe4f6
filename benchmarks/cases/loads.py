"""Loads: how long until a version is AVAILABLE, and what it takes of memory, against the bare runtime's own load.

ResNet-50, 500 trees for the libraries of those, and two matrices of ResNet-50's size for the kind ``python``; each load
in a new process on all cores, the framework's import included. The target is that of the slowest. How long other
threads had to wait at a time is printed, too.
"""

from __future__ import annotations

import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import machine, report
from benchmarks.figures import each
from benchmarks.harness import alternate
from benchmarks.process import helper
from benchmarks.workload import DIGITS, WIDE

if TYPE_CHECKING:
    from benchmarks.harness import Harness

NAME: Final = "loads"
REQUESTS: Final = 1
ROUNDS: Final = 5
TARGET: Final = 1.10
_NETWORKS: Final = {
    "openvino": "resnet50",
    "onnxruntime": "resnet50",
    "tensorflow": "resnet50",
    "torch": "resnet50",
    "sklearn": DIGITS.name,
    "xgboost": DIGITS.name,
    "lightgbm": DIGITS.name,
    "numpy": WIDE.name,
}
_WHO: Final = ("penstock", "bare")

Figures = dict[str, float]


@dataclass(frozen=True)
class Load:
    """What one of the two does with the version of one runtime."""

    runtime: str
    who: str
    version: Path

    @property
    def NAME(self) -> str:  # noqa: N802  # see Rival
        """What the report calls it."""
        return f"{self.runtime}, {self.who}"


def run(harness: Harness, rounds: int, requests: int) -> report.Report:  # noqa: ARG001  # nothing is asked here
    """Load each ``rounds`` times. Raises BenchmarkError."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        loads = [Load(name, who, _write(Path(folder), name)) for name in _NETWORKS for who in _WHO]
        for one in loads:  # not counted: the disk is read
            _measure(one)
        measured = alternate(loads, rounds, _measure, lambda _, one: f"{one['seconds']:.2f} s")
    seconds = each(measured, lambda one: one["seconds"])
    ratios = [
        statistics.median(seconds[f"{name}, penstock"]) / statistics.median(seconds[f"{name}, bare"])
        for name in _NETWORKS
    ]
    return report.make(
        case=NAME,
        measure="ResNet-50 or 500 trees, time to AVAILABLE / the bare runtime's load",
        unit="s",
        target=TARGET,
        better="lower",
        rounds=seconds,
        ratio=max(ratios),
        others={
            "memory, MiB": each(measured, lambda one: one["mib"]),
            "others waited, ms": each(measured, lambda one: one["held_ms"]),
        },
        descriptions={"penstock": "a worker's registry, from the aspiration on", "bare": "the framework alone"},
        accounts={},
        settings={
            "ratios": dict(zip(_NETWORKS, (round(ratio, 3) for ratio in ratios), strict=True)),
            "MiB beside the bare runtime's": {name: round(_more_mib(measured, name), 1) for name in _NETWORKS},
        },
        machine=machine.describe("none", str(harness.cores)),
    )


def _more_mib(measured: dict[str, list[Figures]], name: str) -> float:
    ours, bare = (statistics.median(one["mib"] for one in measured[f"{name}, {who}"]) for who in _WHO)
    return ours - bare


def _write(folder: Path, runtime: str) -> Path:
    version = folder / runtime / "1"
    if not version.exists():
        helper("benchmarks.bare", "write", runtime, _NETWORKS[runtime], version)
    return version


def _measure(one: Load) -> Figures:
    found: Figures = helper("benchmarks.loading", one.who, one.runtime, _NETWORKS[one.runtime], one.version)
    return found
