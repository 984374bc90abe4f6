"""The rows that one worker has in the states topic: what a transition writes, and which rows go. Knows no broker."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from pipeline.errors import LoadCancelled, WorkerLost
from pipeline.records import Error, ServableState, State

if TYPE_CHECKING:
    from collections.abc import Iterable

# What is kept per stream and worker of what has ended, so that the topic does not grow for ever.
KEEP_ENDED: Final = 10
KEEP_FAILED: Final = 100

# Ends that are not the version's fault.
_BLAMELESS: Final = (LoadCancelled.code, WorkerLost.code)

# A row's key, and what it says from now on (None: it goes).
Change = tuple[str, ServableState | None]


def is_failure(state: ServableState) -> bool:
    """Whether the version ended by its own fault: not as wished, not cancelled, and not with its worker."""
    return state.state is State.END and state.error is not None and state.error.code not in _BLAMELESS


def reason_of(state: ServableState) -> str:
    """Return the error of a state as one line, empty where it has none."""
    return "" if state.error is None else f"{state.error.code}: {state.error.message}"


def was_available(state: ServableState) -> bool:
    """Whether the version answers on this worker, or did until it was unloaded or the worker was lost."""
    if state.state is State.END:
        return not is_failure(state) and state.load_ms is not None and not _is_cancelled(state)
    return state.state in (State.AVAILABLE, State.UNLOADING)


def superfluous(rows: Iterable[ServableState]) -> list[ServableState]:
    """Return those rows of one stream on one worker that nobody needs any more. Pure.

    They have ended, and either a newer incarnation of the version has begun, or there are ``KEEP_ENDED`` that ended
    later (``KEEP_FAILED`` for those that failed).
    """
    rows = list(rows)
    newest: dict[int, int] = {}
    for row in rows:
        newest[row.version] = max(row.incarnation, newest.get(row.version, 0))
    ended = [row for row in rows if row.state is State.END]
    superseded = [row for row in ended if row.incarnation < newest[row.version]]
    last = [row for row in ended if row.incarnation == newest[row.version]]
    last.sort(key=lambda row: (row.at_ms, row.version), reverse=True)
    good, failed = [row for row in last if not is_failure(row)], [row for row in last if is_failure(row)]
    return superseded + good[KEEP_ENDED:] + failed[KEEP_FAILED:]


class Rows:
    """Knows every row of one worker, and numbers the incarnations: on from where its earlier life stopped.

    ``recover`` comes first, once. What both methods return has to be written in that order. Not thread-safe.
    """

    def __init__(self, worker: str) -> None:
        self._worker = worker
        # By stream, then by version and incarnation.
        self._rows: dict[str, dict[tuple[int, int], ServableState]] = {}
        # The incarnation in the topic of each that has not ended, by what it is to the worker.
        self._numbers: dict[tuple[str, int, int], int] = {}

    def recover(self, found: Iterable[ServableState], now_ms: int) -> list[Change]:
        """Take over what is in the topic: end what an earlier life of the worker could not end, drop what is old."""
        changes: list[Change] = []
        for row in found:
            if row.worker != self._worker:
                continue
            self._of(row.stream)[row.version, row.incarnation] = row
            if row.state is not State.END:
                what = f"{row.stream}/{row.version}"
                lost = WorkerLost(what, f"worker {row.worker} ended without saying so; it was {row.state}")
                changes.append(self._put(_ended(row, Error.of(lost), now_ms)))
        for stream in tuple(self._rows):
            changes += self._drop(stream)
        return changes

    def take(self, state: ServableState) -> list[Change]:
        """Put down a transition. Its incarnation is the worker's own count and is replaced by that in the topic."""
        own = (state.stream, state.version, state.incarnation)
        number = self._numbers.get(own) or self._next_number(state.stream, state.version)
        if state.state is State.END:
            self._numbers.pop(own, None)
        else:
            self._numbers[own] = number
        change = self._put(msgspec.structs.replace(state, worker=self._worker, incarnation=number))
        return [change, *self._drop(state.stream)]

    def _next_number(self, stream: str, version: int) -> int:
        return max((number for known, number in self._of(stream) if known == version), default=0) + 1

    def _put(self, row: ServableState) -> Change:
        self._of(row.stream)[row.version, row.incarnation] = row
        return row.key, row

    def _drop(self, stream: str) -> list[Change]:
        dropped = superfluous(self._of(stream).values())
        for row in dropped:
            del self._rows[stream][row.version, row.incarnation]
        return [(row.key, None) for row in dropped]

    def _of(self, stream: str) -> dict[tuple[int, int], ServableState]:
        return self._rows.setdefault(stream, {})


def _ended(row: ServableState, error: Error, now_ms: int) -> ServableState:
    return msgspec.structs.replace(row, state=State.END, error=error, at_ms=now_ms)


def _is_cancelled(state: ServableState) -> bool:
    return state.error is not None and state.error.code == LoadCancelled.code
