"""Registry: p99 of predictions beside a load on one core, loads giving way against loads at equal priority; no broker.

Predictions take three fifths of the core, more than the half that a load at equal priority leaves them. Beside that,
for the record: handles a second, and how long 1,000 streams take to be available.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks import accounting, heavy, machine, model, report
from benchmarks.cases.swap import EQUAL, GIVING_WAY
from benchmarks.figures import each
from benchmarks.harness import alternate
from benchmarks.lookups import STREAMS
from benchmarks.process import helper
from pipeline.settings import WorkerSettings

if TYPE_CHECKING:
    from benchmarks.contenders.swapping import Swapping
    from benchmarks.harness import Harness

NAME: Final = "registry"
REQUESTS: Final = 3000
ROUNDS: Final = 3
TARGET: Final = 1.0
_SHARE: Final = 0.6
_REQUESTS_PER_S: Final = 1000.0
_LOOKUPS_S: Final = 1.0
_WARM_UPS: Final = 50
_RIVALS: Final = (GIVING_WAY, EQUAL)


@dataclass(frozen=True)
class Measured:
    """One contender's round: p99 before and during the load, and how long the load took."""

    before_ms: float
    during_ms: float
    duration_s: float
    account: accounting.Account


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Measure all rounds, each with about ``requests`` predictions before the load; raises BenchmarkError."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        version = Path(folder, "2")
        heavy.write(version, _WARM_UPS)
        measured = alternate(_RIVALS, rounds, lambda rival: _measure(harness, rival, version, requests), _show)
    bare = [helper("benchmarks.lookups", _LOOKUPS_S) for _ in range(rounds)]
    threads = tuple(bare[0]["lookups_per_s"])
    return report.make(
        case=NAME,
        measure="p99 of predictions while another stream loads a heavy version, on one core",
        unit="ms",
        target=TARGET,
        better="lower",
        rounds=each(measured, lambda one: one.during_ms),
        others={
            "p99 before, ms": each(measured, lambda one: one.before_ms),
            "p99 during / before": each(measured, lambda one: one.during_ms / one.before_ms),
            "the load, s": each(measured, lambda one: one.duration_s),
            "handles taken and given back, 1/s": {
                name: [one["lookups_per_s"][name] for one in bare] for name in threads
            },
            "swaps meanwhile, 1/s": {name: [one["swaps_per_s"][name] for one in bare] for name in threads},
            f"{STREAMS} streams available, s": {"penstock": [one["streams_s"] for one in bare]},
        },
        descriptions={
            GIVING_WAY.NAME: "the registry of a worker, default settings",
            EQUAL.NAME: EQUAL.DESCRIPTION,
        },
        accounts=each(measured, lambda one: one.account),
        settings=_settings(),
        machine=machine.describe("none", "one core"),
    )


def _settings() -> dict[str, Any]:
    return {
        "share_of_the_core": _SHARE,
        "warm_up_inferences": _WARM_UPS,
        "openvino": model.OPENVINO,
        "clock": "the predicting thread's, from the moment a prediction was due",
    }


def _measure(harness: Harness, rival: Swapping, version: Path, requests: int) -> Measured:
    niceness = rival.worker.get("load_niceness", WorkerSettings().load_niceness)
    before_s = requests / _REQUESTS_PER_S
    got = helper("benchmarks.beside", harness.models, version, niceness, _SHARE, before_s)
    return Measured(got["before"]["p99_ms"], got["during"]["p99_ms"], got["duration_s"], got["account"])


def _show(_: object, one: Measured) -> str:
    return f"p99 {one.before_ms:>8.2f} -> {one.during_ms:>8.2f} ms in {one.duration_s:.1f} s"
