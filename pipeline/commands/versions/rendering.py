"""What is known of the fleet as rows of tables. All of it pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.control.fleet import Fleet
    from pipeline.records import ServableState, StreamState, WorkerState

Table = tuple[Sequence[str], list[Sequence[str]]]

_VERSIONS = ("stream", "version", "labels", "worker", "state", "for", "load", "digest", "reason")
_WORKERS = ("worker", "seen", "started", "stream", "generation", "settled", "available", "labels")
_DIGEST_CHARACTERS = 8


def chosen(fleet: Fleet, stream: str | None, version: int | None = None, *, with_ended: bool) -> list[ServableState]:
    """Return the states of a version, of a stream, or of all; without those that ended, but not by their own fault."""
    from pipeline.control.rows import is_failure

    return [
        state
        for state in fleet.states
        if stream in (None, state.stream)
        and version in (None, state.version)
        and (with_ended or state.state != "END" or is_failure(state))
    ]


def versions_table(fleet: Fleet, states: Sequence[ServableState], now_ms: int) -> Table:
    """Return columns and rows: one for each state. Of two incarnations of a version the number is shown."""
    from pipeline.control.rows import reason_of

    signs = {worker.worker: worker for worker in fleet.workers}
    lives = Counter((state.worker, state.stream, state.version) for state in states)
    rows: list[Sequence[str]] = []
    for state in states:
        sign = signs.get(state.worker)
        is_doubled = lives[state.worker, state.stream, state.version] > 1
        rows.append(
            (
                state.stream,
                f"{state.version} ({_ordinal(state.incarnation)} life)" if is_doubled else str(state.version),
                ", ".join(_labels(sign, state)),
                state.worker,
                state_text(state, sign, now_ms),
                duration(now_ms - state.at_ms),
                "" if state.load_ms is None else f"{state.load_ms} ms",
                short_digest(state.digest),
                reason_of(state),
            )
        )
    return _VERSIONS, rows


def workers_table(workers: Sequence[WorkerState], stream: str | None, now_ms: int) -> Table:
    """Return columns and rows: one for each stream of each worker."""
    from pipeline.control.fleet import is_vanished

    rows: list[Sequence[str]] = []
    for worker in workers:
        seen = duration(now_ms - worker.at_ms)
        who = (worker.worker, f"gone {seen}" if is_vanished(worker, now_ms) else seen)
        since = duration(now_ms - worker.started_at_ms)
        rows += [(*who, since, *_progress(state)) for state in worker.streams if stream in (None, state.stream)]
    return _WORKERS, rows


def notes(fleet: Fleet, stream: str | None) -> list[str]:
    """Return what workers want a person to know, as lines."""
    return [
        f"{worker.worker}: {note}"
        for worker in fleet.workers
        for state in worker.streams
        if stream in (None, state.stream)
        for note in state.notes
    ]


def duration(ms: float) -> str:
    """Return a duration in the largest unit of which there are two."""
    seconds = max(0, int(ms / 1000))
    units: Mapping[str, int] = {"d": 86_400, "h": 3600, "min": 60}
    for unit, length in units.items():
        if seconds >= 2 * length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def short_digest(digest: str | None) -> str:
    """Return the first characters of a digest's hexadecimal part: enough to tell two contents apart."""
    return "" if digest is None else digest.rpartition(":")[2][:_DIGEST_CHARACTERS]


def state_text(state: ServableState, sign: WorkerState | None, now_ms: int) -> str:
    """Return a state and, where nobody can vouch for it any more, that its worker is gone."""
    from pipeline.control.fleet import is_vanished

    if state.state == "END":
        return str(state.state)
    if sign is None:
        return f"{state.state}, worker gone"
    if is_vanished(sign, now_ms):
        return f"{state.state}, worker gone {duration(now_ms - sign.at_ms)}"
    return str(state.state)


def _labels(sign: WorkerState | None, state: ServableState) -> list[str]:
    if sign is None or state.state != "AVAILABLE":
        return []
    labels = next((of.labels for of in sign.streams if of.stream == state.stream), {})
    return sorted(label for label, version in labels.items() if version == state.version)


def _progress(state: StreamState) -> Sequence[str]:
    return (
        state.stream,
        "" if state.generation < 0 else str(state.generation),
        "yes" if state.is_settled else "no",
        ", ".join(map(str, state.available)),
        ", ".join(f"{label}={version}" for label, version in sorted(state.labels.items())),
    )


def _ordinal(number: int) -> str:
    last = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{last}"
