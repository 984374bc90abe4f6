"""The circuit of a route: closed, open and half-open, by what its last batches came to. No thread, no timer."""

from __future__ import annotations

import enum
import threading
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from pipeline.clock import Clock
from pipeline.errors import CircuitOpen, ModelFailed, PenstockError, PredictTimedOut, ServableDied
from pipeline.records import Error
from pipeline.settings import CircuitSettings

# Requests of the batch that tries whether the servable answers again. More than one: a single one may be at fault.
PROBE_REQUESTS: Final = 8
_LONGEST_TEXT: Final = 400
_SERVERS_FAULT: Final = (ModelFailed, ServableDied, PredictTimedOut)


class State(enum.StrEnum):
    """Closed lets everything pass, open nothing, half-open one small batch that decides."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Standing(msgspec.Struct, frozen=True):
    """Where a circuit stands: how many batches in a row failed, and with what the last of them did."""

    state: State = State.CLOSED
    failed_batches: int = 0
    last_error: str = ""


Change = Callable[[Standing], None]


class Circuit:
    """Opens when so many batches in a row failed that the servable is at fault, not the requests. Thread-safe.

    A batch has failed when none of its requests was answered and one at least met a server's fault: the servable
    raised, died or timed out. Errors that are the request's own fault, or nobody's, say nothing either way.
    ``on_change`` is called with each new state, with no lock held, on the thread that caused it.
    """

    def __init__(self, settings: CircuitSettings, clock: Clock, on_change: Change = lambda _: None) -> None:
        self.settings: Final = settings
        self._clock, self._on_change = clock, on_change
        self._lock = threading.Lock()
        self._standing = Standing()
        self._retry_at_s = 0.0
        self._is_probing = False

    @property
    def standing(self) -> Standing:
        """Where it stands now; any thread."""
        return self._standing

    def admit(self, requests: int) -> int:
        """Return how many of so many requests may be computed now: all, none, or the few of a probe.

        Whoever gets a probe ends it: by ``note``, or by ``give_up`` where there were no requests to compute.
        """
        with self._lock:
            if self._standing.state is State.CLOSED:
                return requests
            if self._is_probing or self._clock.monotonic_s() < self._retry_at_s:
                return 0
            self._is_probing = True
            changed = self._move(State.HALF_OPEN)
        self._tell(changed)
        return min(requests, PROBE_REQUESTS)

    def give_up(self) -> None:
        """The probe did not take place: the next one may."""
        with self._lock:
            self._is_probing = False

    def note(self, requests: int, errors: Sequence[PenstockError]) -> None:
        """Take in what a batch came to: how many requests it had, and the errors of those that were not answered."""
        if not self.settings.after_batches:
            return
        faults = [error for error in errors if isinstance(error, _SERVERS_FAULT)]
        has_answers = len(errors) < requests
        with self._lock:
            self._is_probing = False
            if has_answers:
                changed = self._close()
            elif faults:
                changed = self._fail(faults[-1])
            else:
                return
        self._tell(changed)

    def close(self) -> None:
        """Let everything pass again: there is a new version."""
        with self._lock:
            changed = self._close()
        self._tell(changed)

    def refusal(self, servable: str) -> CircuitOpen:
        """Return the error of a request that is not computed."""
        standing = self._standing
        return CircuitOpen(servable, standing.failed_batches, standing.last_error)

    # Each returns where the circuit stands if its state has changed.

    def _close(self) -> Standing | None:
        before, self._standing = self._standing, Standing()
        return None if before.state is State.CLOSED else self._standing

    def _fail(self, error: PenstockError) -> Standing | None:
        before = self._standing
        failed = before.failed_batches + 1
        self._standing = Standing(before.state, failed, f"{error.code}: {Error.of(error).message}"[:_LONGEST_TEXT])
        if before.state is State.CLOSED and failed < self.settings.after_batches:
            return None
        if before.state is State.OPEN:  # a batch that was taken before
            return None
        self._retry_at_s = self._clock.monotonic_s() + self.settings.retry_after_s
        return self._move(State.OPEN)

    def _move(self, state: State) -> Standing | None:
        before, self._standing = self._standing, msgspec.structs.replace(self._standing, state=state)
        return None if before.state is state else self._standing

    def _tell(self, changed: Standing | None) -> None:
        if changed is not None:
            self._on_change(changed)
