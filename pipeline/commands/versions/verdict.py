"""How a change went, in words. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.control.change import Outcome, Report
from pipeline.control.progress import Stage

if TYPE_CHECKING:
    from pipeline.control.progress import WorkerProgress


def verdict(report: Report, timeout_s: float) -> tuple[bool, str]:
    """Return whether the fleet follows, and one line that names each worker that does not, and why."""
    stream, progress = report.record.stream, report.progress
    failed, pending = _named(progress.of(Stage.FAILED)), _named(progress.of(Stage.PENDING))
    match report.outcome:
        case Outcome.DONE:
            return True, _done(report)
        case Outcome.SUPERSEDED:
            return False, f"{stream}: superseded by {report.by} before every worker had followed"
        case Outcome.HALTED:
            restored = f"what stood before is aspired again (generation {report.generation})"
            return False, f"{stream}: halted, {restored}: {failed}"
        case Outcome.FAILED:
            return False, f"{stream}: not on every worker: {failed}"
        case Outcome.TIMED_OUT:
            missing = "; ".join(part for part in (failed, pending) if part)
            return False, f"{stream}: not on every worker within {timeout_s:g} s: {missing}"


def _done(report: Report) -> str:
    stream, done, gone = report.record.stream, report.progress.of(Stage.DONE), report.progress.of(Stage.GONE)
    lost = f"; gone and not waited for: {_named(gone)}" if gone else ""
    if not done:
        return f"{stream}: no worker that serves it is alive; those that start will follow{lost}"
    return f"{stream}: {len(done)} {'worker has' if len(done) == 1 else 'workers have'} followed{lost}"


def _named(workers: tuple[WorkerProgress, ...]) -> str:
    return "; ".join(f"{worker.worker} ({worker.reason})" for worker in workers)
