"""How far the fleet has followed one aspiration: who has, who could not, who has not yet, and why. Pure."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

import msgspec

from pipeline.control.fleet import is_vanished
from pipeline.control.rows import is_failure, reason_of
from pipeline.records import ServableState, State, StreamState, WorkerState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.records import AspiredVersions


class Stage(enum.StrEnum):
    """Where one worker is."""

    DONE = "done"
    FAILED = "failed"
    PENDING = "pending"
    GONE = "gone"


class WorkerProgress(msgspec.Struct, frozen=True):
    """Where one worker is, and why."""

    worker: str
    stage: Stage
    reason: str = ""


class Progress(msgspec.Struct, frozen=True):
    """Where every worker is that serves the stream, by name. Those that are gone are named and not waited for."""

    workers: tuple[WorkerProgress, ...]

    def of(self, stage: Stage) -> tuple[WorkerProgress, ...]:
        """Return those at one stage."""
        return tuple(worker for worker in self.workers if worker.stage is stage)

    @property
    def is_over(self) -> bool:
        """Whether every worker that is alive has followed, or has failed to."""
        return not self.of(Stage.PENDING)


def progress(
    record: AspiredVersions,
    generation: int,
    workers: Iterable[WorkerState],
    states: Iterable[ServableState],
    now_ms: int,
) -> Progress:
    """Return how far each worker has followed ``record``, which was published at ``generation``.

    A worker has when it has taken that generation up, is settled, and answers with each of the versions. It has failed
    when it is settled and does not, or when new content of a version did not load beside the old.
    """
    rows: dict[str, list[ServableState]] = {}
    for state in states:
        if state.stream == record.stream:
            rows.setdefault(state.worker, []).append(state)
    found = []
    for worker in sorted(workers, key=lambda worker: worker.worker):
        for stream in worker.streams:
            if stream.stream == record.stream:
                own = sorted(rows.get(worker.worker, ()), key=lambda row: (row.version, row.incarnation))
                found.append(_of(worker, stream, record, generation, own, now_ms))
    return Progress(tuple(found))


def _of(
    worker: WorkerState,
    stream: StreamState,
    record: AspiredVersions,
    generation: int,
    rows: list[ServableState],
    now_ms: int,
) -> WorkerProgress:
    silent_s = max(0, now_ms - worker.at_ms) // 1000
    if is_vanished(worker, now_ms):
        return WorkerProgress(worker.worker, Stage.GONE, f"not heard from for {silent_s} s")
    newest = {row.version: row for row in rows}
    if stream.generation < generation:
        reason = f"still at generation {stream.generation}"
    elif failures := _failures(stream, record, generation, newest):
        return WorkerProgress(worker.worker, Stage.FAILED, "; ".join(failures))
    elif stream.is_settled:
        return WorkerProgress(worker.worker, Stage.DONE)
    else:
        moving = [f"version {row.version} is {row.state}" for row in rows if row.state in _MOVING]
        reason = "; ".join([*moving, *stream.notes]) or "not settled"
    if now_ms - worker.at_ms > 2 * worker.interval_ms:
        reason += f"; not heard from for {silent_s} s"
    return WorkerProgress(worker.worker, Stage.PENDING, reason)


def _failures(
    stream: StreamState, record: AspiredVersions, generation: int, newest: dict[int, ServableState]
) -> list[str]:
    failures = []
    for version in record.versions:
        row = newest.get(version.version)
        is_up = version.version in stream.available
        if row is not None and is_failure(row) and (not is_up or row.generation >= generation):
            failures.append(reason_of(row))
        elif stream.is_settled and not is_up:
            about = f"{stream.stream}/{version.version} "  # for instance that it waits for memory
            why = [note for note in stream.notes if note.startswith(about)]
            failures.append("; ".join([f"version {version.version} is not available", *why]))
    return failures


_MOVING = (State.START, State.LOADING, State.UNLOADING)
