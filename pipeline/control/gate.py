"""The watch gate: a version that fails on one worker is taken out of the aspired set of all of them. Pure.

Its memory are the rows of the states topic, so that it can be restarted at any time.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

import msgspec

from pipeline.control.merging import Content, Halt
from pipeline.control.rows import is_failure, reason_of, was_available
from pipeline.records import AspiredVersion, ServableState, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipeline.control.fleet import Fleet


class Veto(msgspec.Struct, frozen=True):
    """One reason why a content is not aspired."""

    stream: str
    content: Content
    worker: str
    reason: str

    def __str__(self) -> str:
        return f"{self.stream}/{self.content[0]} failed on {self.worker}: {self.reason}"


def vetoes(fleet: Fleet) -> tuple[Veto, ...]:
    """Return every reason not to aspire to a content: it failed on a worker.

    It counts on a worker that serves another version of the stream, or did in the same life. One that can serve none,
    such as a new one without access to the storage, has troubles of its own, and takes nothing from the others.
    """
    return tuple(Veto(row.stream, _content(row), row.worker, reason_of(row)) for row in _failures(fleet))


def halts(fleet: Fleet) -> Mapping[str, Halt]:
    """Return what is vetoed of each stream, and what can stand in for it; streams without a veto are left out."""
    failures: dict[str, list[ServableState]] = defaultdict(list)
    for row in _failures(fleet):
        failures[row.stream].append(row)
    rows: dict[str, list[ServableState]] = defaultdict(list)
    for row in fleet.states:
        if row.stream in failures and row.path is not None and was_available(row):
            rows[row.stream].append(row)
    return {stream: _halt(failed, rows[stream]) for stream, failed in failures.items()}


def _failures(fleet: Fleet) -> Iterable[ServableState]:
    started_at_ms = {worker.worker: worker.started_at_ms for worker in fleet.workers}
    others: dict[tuple[str, str], list[ServableState]] = defaultdict(list)
    for row in fleet.states:
        if not is_failure(row):
            others[row.worker, row.stream].append(row)
    for row in fleet.states:
        # Without a sign of life nobody knows when its life began: only what lasted longer than the failure counts.
        since_ms = min(row.at_ms, started_at_ms.get(row.worker, row.at_ms))
        if is_failure(row) and any(
            other.version != row.version and (other.state is not State.END or other.at_ms >= since_ms)
            for other in others[row.worker, row.stream]
        ):
            yield row


def _halt(failed: list[ServableState], rows: list[ServableState]) -> Halt:
    vetoed = frozenset(_content(row) for row in failed)
    since = min(row.generation for row in failed)
    good = [row for row in rows if _content(row) not in vetoed]
    # What ended because of the record that brought the vetoed version carries that record's generation.
    before = [row for row in good if row.state is not State.END or row.generation >= since]
    return Halt(vetoed, _versions(before), _versions(good))


def _versions(rows: Iterable[ServableState]) -> tuple[AspiredVersion, ...]:
    latest = {row.version: row for row in sorted(rows, key=lambda row: row.at_ms)}
    return tuple(AspiredVersion(number, row.path or "", row.digest) for number, row in sorted(latest.items()))


def _content(row: ServableState) -> Content:
    return row.version, row.digest or row.path or ""
