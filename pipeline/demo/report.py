"""From what was sent and what came back to one object with the numbers. All of it pure."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SWAP_WINDOW_S: Final = 1.0


@dataclass(frozen=True)
class Sent:
    """A request that was sent: the digit that its image shows, and when, in seconds of a monotonic clock."""

    label: int
    at_s: float


@dataclass(frozen=True)
class Received:
    """A result that came: which version saw which digit, or the error's code and message; and when."""

    id: str
    at_s: float
    version: int | None = None
    digit: int | None = None
    error: str | None = None


@dataclass(frozen=True)
class VersionReport:
    """What one version did. ``accuracy`` is the share of its answers that are right, from 0 to 1."""

    answered: int
    accuracy: float
    p50_ms: float
    p99_ms: float


@dataclass(frozen=True)
class BrokenVersion:
    """How the broken version ended on the worker: its last state, and why."""

    state: str
    reason: str


@dataclass(frozen=True)
class Report:
    """The numbers of one run; docs of the fields are in ``make_report``."""

    requests: int
    answered: int
    lost: int
    duplicated: int
    errors: int
    versions: dict[int, VersionReport]
    swap_gap_ms: float
    p50_ms: float
    p99_ms: float
    records_per_s: float
    broker: str
    version_3: BrokenVersion


def make_report(
    sent: Mapping[str, Sent], received: Sequence[Received], version_3: BrokenVersion, broker: str
) -> Report:
    """Count by request id. ``received`` is in the order of receipt; results for ids that were not sent do not count.

    ``answered`` are the requests that have a result, an error included; ``lost`` those that have none; ``duplicated``
    the results beyond the first of a request; ``errors`` the requests whose first result is an error. Latencies run
    from just before a request is handed to the client until its first result is there. ``records_per_s`` is what was
    answered, divided by the time from the first request to the last result. ``swap_gap_ms``: see ``swap_gap_ms``.
    """
    ours = [result for result in received if result.id in sent]
    first: dict[str, Received] = {}
    for result in ours:
        first.setdefault(result.id, result)
    good = [result for result in first.values() if result.error is None]
    latencies_ms = [_latency_ms(sent, result) for result in first.values()]
    return Report(
        requests=len(sent),
        answered=len(first),
        lost=len(sent) - len(first),
        duplicated=len(ours) - len(first),
        errors=len(first) - len(good),
        versions=by_version(sent, good),
        swap_gap_ms=swap_gap_ms(ours),
        p50_ms=percentile(latencies_ms, 50),
        p99_ms=percentile(latencies_ms, 99),
        records_per_s=_rate(sent, first),
        broker=broker,
        version_3=version_3,
    )


def by_version(sent: Mapping[str, Sent], results: Sequence[Received]) -> dict[int, VersionReport]:
    """Return what each version did, lowest first; ``results`` holds one good result per id."""
    groups: dict[int, list[Received]] = {}
    for result in results:
        if result.version is not None:
            groups.setdefault(result.version, []).append(result)
    return {version: _version_report(sent, groups[version]) for version in sorted(groups)}


def swap_gap_ms(received: Sequence[Received]) -> float:
    """Return the longest silence around the swap, in ms: the largest time between two consecutive results.

    Looked at are the results, of any version, from one second before to one second after the first answer of
    version 2. 0.0 where it has never answered.
    """
    swap_s = next((result.at_s for result in received if result.version == 2), None)
    if swap_s is None:
        return 0.0
    times = [result.at_s for result in received if abs(result.at_s - swap_s) <= _SWAP_WINDOW_S]
    return max((after - before for before, after in itertools.pairwise(times)), default=0.0) * 1e3


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the nearest-rank percentile: one of the values, or 0.0 where there are none."""
    if not values:
        return 0.0
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def shortcomings(report: Report) -> list[str]:
    """Return what the run should have shown and did not, a line each; empty when all is well."""
    one, two = report.versions.get(1), report.versions.get(2)
    lines = [f"{count} requests {what}" for what, count in _unwanted(report).items() if count]
    lines += [f"version {version} answered nothing" for version, found in ((1, one), (2, two)) if found is None]
    if one and two and two.accuracy <= one.accuracy:
        lines.append(f"version 2 is right in {two.accuracy:.2%} of its answers, version 1 in {one.accuracy:.2%}")
    if report.version_3.state != "END" or not report.version_3.reason:
        lines.append(f"the broken version 3 should be END with a reason, it is {report.version_3.state}")
    if 3 in report.versions:
        lines.append(f"the broken version 3 answered {report.versions[3].answered} requests")
    return lines


def to_object(report: Report) -> dict[str, Any]:
    """Return the object that ``penstock demo --json`` prints."""
    return {
        "requests": report.requests,
        "answered": report.answered,
        "lost": report.lost,
        "duplicated": report.duplicated,
        "errors": report.errors,
        "versions": {
            str(version): {"answered": found.answered, "accuracy": round(found.accuracy, 4)}
            for version, found in report.versions.items()
        },
        "swap_gap_ms": round(report.swap_gap_ms, 2),
        "p50_ms": round(report.p50_ms, 2),
        "p99_ms": round(report.p99_ms, 2),
        "records_per_s": round(report.records_per_s, 1),
        "broker": report.broker,
        "version_3": {"state": report.version_3.state, "reason": report.version_3.reason},
    }


def _unwanted(report: Report) -> dict[str, int]:
    return {
        "were never answered": report.lost,
        "were answered more than once": report.duplicated,
        "were answered with an error": report.errors,
    }


def _version_report(sent: Mapping[str, Sent], results: Sequence[Received]) -> VersionReport:
    right = sum(result.digit == sent[result.id].label for result in results)
    latencies_ms = [_latency_ms(sent, result) for result in results]
    return VersionReport(len(results), right / len(results), percentile(latencies_ms, 50), percentile(latencies_ms, 99))


def _latency_ms(sent: Mapping[str, Sent], result: Received) -> float:
    return (result.at_s - sent[result.id].at_s) * 1e3


def _rate(sent: Mapping[str, Sent], first: Mapping[str, Received]) -> float:
    if not first:
        return 0.0
    seconds = max(result.at_s for result in first.values()) - min(request.at_s for request in sent.values())
    return len(first) / seconds if seconds > 0 else 0.0
