"""Memory: what a worker's process has resident after a hundred swaps, against after the fifth, each kind; no broker.

A small network, or 500 trees, for each kind and each format of PyTorch that is loaded otherwise; each in a process of
its own, in the isolation that the kind says. The target is that of the kind which has grown most. Descriptors and
threads that are left are printed, too. A package needs a C++ compiler, and is left out where there is none.
"""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import machine, report
from benchmarks.process import helper
from benchmarks.workload import DIGITS, MLP

if TYPE_CHECKING:
    from benchmarks.harness import Harness

NAME: Final = "memory"
REQUESTS: Final = 100
ROUNDS: Final = 1
TARGET: Final = 1.05
_NETWORKS: Final = {
    "openvino": MLP.name,
    "onnxruntime": MLP.name,
    "tensorflow": MLP.name,
    "torch": MLP.name,
    "torchscript": MLP.name,
    "aotinductor": MLP.name,
    "sklearn": DIGITS.name,
    "xgboost": DIGITS.name,
    "lightgbm": DIGITS.name,
    "numpy": MLP.name,
}
_COMPILED: Final = "aotinductor"
# A package's process imports PyTorch for each version.
_TIMEOUT_S: Final = 3600.0


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Swap ``requests`` versions of each, in ``rounds`` processes one after the other. Raises BenchmarkError."""
    names = [name for name in _NETWORKS if name != _COMPILED or shutil.which("g++")]
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        measured = {name: [_swap(Path(folder), name, requests) for _ in range(rounds)] for name in names}
    ratios = {name: [_ratio(one) for one in several] for name, several in measured.items()}
    return report.make(
        case=NAME,
        measure=f"resident after {requests} swaps / after the fifth",
        unit="x",
        target=TARGET,
        better="lower",
        rounds=ratios,
        ratio=max(max(several) for several in ratios.values()),
        others={
            "after all, MiB": {name: [one["after_all"]["mib"] for one in several] for name, several in measured.items()}
        },
        descriptions={name: several[0]["isolation"] for name, several in measured.items()},
        accounts={},
        settings={
            f"{figure} more than after the fifth": {name: _more(several, figure) for name, several in measured.items()}
            for figure in ("descriptors", "threads")
        },
        machine=machine.describe("none", str(harness.cores)),
    )


def _swap(folder: Path, name: str, swaps: int) -> dict[str, Any]:
    network, version = _NETWORKS[name], folder / name / "1"
    if not version.exists():
        helper("benchmarks.bare", "write", name, network, version)
    found: dict[str, Any] = helper("benchmarks.swapping", name, network, version, swaps, timeout_s=_TIMEOUT_S)
    print(f"  {name:<12} {found['isolation']:<8} {_ratio(found):.3f} x", file=sys.stderr, flush=True)
    return found


def _ratio(found: dict[str, Any]) -> float:
    return float(found["after_all"]["mib"] / found["after_first"]["mib"])


def _more(several: list[dict[str, Any]], figure: str) -> int:
    return max(int(one["after_all"][figure]) - int(one["after_first"][figure]) for one in several)
