"""Backlog: resident memory of a worker that works off a million small requests, and thousands of large ones.

Above the idle worker: the same process, ready, with nothing to do. Requests of 1 kB are 500 times as many as those of
5 MB, so that both are gigabytes. They lie in the topic before the worker starts, so that it always finds as many as it
takes; every one is accounted by its id afterwards.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from benchmarks import accounting, large_backlog, machine, report
from benchmarks.contenders import penstock
from benchmarks.figures import each
from benchmarks.harness import alternate
from benchmarks.place import PARTITIONS, Place, Watch
from benchmarks.process import Contender, helper

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.harness import Harness

NAME: Final = "backlog"
REQUESTS: Final = 2_000
ROUNDS: Final = 1
TARGET: Final = 600.0  # MiB
_SMALL_BYTES, _LARGE_BYTES = 1_000, 5_000_000
_MORE_SMALL: Final = 500
_READY_S, _LIMIT_S, _HELPER_S = 120.0, 1_800.0, 1_800.0
_SERVABLE: Final = """
class Servable:
    inputs = {"x": ("FP32", [-1, %d])}
    outputs = {"y": ("FP32", [-1])}

    def predict(self, inputs):
        return {"y": inputs["x"][:, 0].copy()}
"""


@dataclass(frozen=True)
class Rival:
    """A worker with a servable that computes next to nothing, so that memory is the only matter."""

    NAME: str
    base_path: Path
    request_bytes: int

    DESCRIPTION: Final = "penstock worker --watch, at-least-once, default settings"

    @property
    def width(self) -> int:
        """How many FP32 a request has."""
        return large_backlog.columns(self.request_bytes)

    def command(self, place: Place) -> list[str | Path]:
        """Write the version and ``penstock.yaml``, and return the command."""
        version = self.base_path / "1"
        version.mkdir(parents=True, exist_ok=True)
        (version / "servable.py").write_text(_SERVABLE % self.width)
        stream = {"base_path": str(self.base_path), "kind": "python", "options": {"allow_code_in_version": True}}
        return penstock.command(place, {"mlp": stream})


@dataclass(frozen=True)
class Measured:
    """One backlog: MiB above the idle worker at most, MiB of that worker, and how fast it was."""

    above_mib: float
    idle_mib: float
    records_per_s: float
    account: accounting.Account


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Measure both sizes ``rounds`` times and return the report; raises BenchmarkError."""
    base_path = harness.models.parent
    rivals = {
        Rival("small", base_path / "small", _SMALL_BYTES): requests * _MORE_SMALL,
        Rival("large", base_path / "large", _LARGE_BYTES): requests,
    }
    measured = alternate(
        list(rivals),
        rounds,
        lambda rival: _measure(harness, rival, rivals[rival]),
        lambda _, one: f"{one.above_mib:.0f} MiB above {one.idle_mib:.0f} MiB",
    )
    return _report(harness, requests, measured)


def produce(place: Place, count: int, request_bytes: int) -> None:
    """Fill the request topic."""
    arguments = (place.bootstrap, place.requests, count, request_bytes)
    helper("benchmarks.large_backlog", "produce", *arguments, timeout_s=_HELPER_S)


def collect(place: Place, count: int) -> dict[str, Any]:
    """Return what ``benchmarks.large_backlog collect`` prints, the account with what is uncommitted."""
    arguments = (place.bootstrap, place.results, count)
    made: dict[str, Any] = helper("benchmarks.large_backlog", "collect", *arguments, timeout_s=_HELPER_S)
    made["account"]["uncommitted"] = place.uncommitted()
    return made


def _measure(harness: Harness, rival: Rival, count: int) -> Measured:
    idle_mib = _idle_mib(harness, rival)
    with harness.place(rival.NAME) as place:
        produce(place, count, rival.request_bytes)
        with harness.running(rival, place) as contender:
            peak_mib, took_s = _work_off(contender, place, count)
        account = collect(place, count)["account"]
    return Measured(peak_mib - idle_mib, idle_mib, count / took_s, account)


def _idle_mib(harness: Harness, rival: Rival) -> float:
    """Return what the worker has when it has answered one request and nothing is left to do."""
    with harness.place(f"{rival.NAME}-idle") as place:
        produce(place, 1, _SMALL_BYTES)
        with harness.running(rival, place) as contender:
            _wait(contender, place, 1, _READY_S)
            return contender.rss_mib


def _work_off(contender: Contender, place: Place, count: int) -> tuple[float, float]:
    """Return the peak of the worker's memory, by samples and by the kernel's own mark, and the seconds it took."""
    started_s = time.monotonic()
    samples = _wait(contender, place, count, _LIMIT_S)
    return max(*samples, contender.peak_rss_mib), time.monotonic() - started_s


def _wait(contender: Contender, place: Place, count: int, limit_s: float) -> list[float]:
    samples: list[float] = [0.0]
    watch = Watch(place, place.requests)

    def is_done() -> bool:
        samples.append(contender.rss_mib)
        return watch.committed() >= count

    contender.wait(is_done, f"answering {count} requests", limit_s)
    return samples


def _report(harness: Harness, requests: int, measured: dict[str, list[Measured]]) -> report.Report:
    above_mib = each(measured, lambda one: one.above_mib)
    settings: dict[str, Any] = {
        "small_requests": requests * _MORE_SMALL,
        "small_bytes": _SMALL_BYTES,
        "large_requests": requests,
        "large_bytes": _LARGE_BYTES,
        "partitions": PARTITIONS,
        "memory": "VmRSS every 0.1 s and VmHWM at the end",
    }
    return report.make(
        case=NAME,
        measure="resident memory at most while a backlog is worked off, above the idle worker",
        unit="MiB",
        target=TARGET,
        better="lower",
        ratio=max(max(several) for several in above_mib.values()),
        rounds=above_mib,
        others={
            "idle worker, MiB": each(measured, lambda one: one.idle_mib),
            "records/s, its start included": each(measured, lambda one: one.records_per_s),
        },
        descriptions=dict.fromkeys(measured, Rival.DESCRIPTION),
        accounts=each(measured, lambda one: one.account),
        settings=settings,
        machine=machine.describe(harness.broker, str(harness.cores)),
    )
