"""One edit of one stream, from the record that stands to a fleet that has followed: read, publish, wait, take back."""

from __future__ import annotations

import enum
import threading
import time
from typing import TYPE_CHECKING, Final

import msgspec

from pipeline.control.aspired import AspiredFollower, AspiredPublisher
from pipeline.control.fleet import Fleet, FleetFollower
from pipeline.control.logs import logs_of
from pipeline.control.progress import Progress, Stage, progress
from pipeline.errors import ConnectorError
from pipeline.records import AspiredVersions

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self

    from pipeline.clock import Clock
    from pipeline.control.edits import Edit
    from pipeline.settings import Settings

_LOOK_S: Final = 0.1
_TIMEOUT_S: Final = 10.0


class Outcome(enum.StrEnum):
    """How a change ended."""

    DONE = "done"
    FAILED = "failed"
    HALTED = "halted"
    TIMED_OUT = "timed_out"
    SUPERSEDED = "superseded"


class Report(msgspec.Struct, frozen=True):
    """What was published, how it ended, and where each worker was then. ``by`` is who published what superseded it."""

    record: AspiredVersions
    generation: int
    outcome: Outcome
    progress: Progress
    by: str = ""


class Change:
    """Follows both control topics while it is entered; for one thread. Entering blocks until what they hold is known.

    Raises ConnectorError from every method when the broker is away for ten seconds.
    """

    def __init__(self, settings: Settings, stream: str, publisher: str, clock: Clock) -> None:
        logs, control = logs_of(settings), settings.control
        self._stream, self._clock = stream, clock
        self._failures: list[Exception] = []
        self._lock = threading.Lock()
        self._standing: tuple[int, AspiredVersions | None] = (-1, None)
        self._publisher = AspiredPublisher(logs, control.aspired_topic, publisher, clock)
        self._fleet = FleetFollower(logs, control.states_topic, "penstock-versions", self._failures.append)
        self._follower = AspiredFollower(
            logs,
            control.aspired_topic,
            "penstock-versions",
            on_aspired=lambda record, generation: self._on_record(record.stream, record, generation),
            on_forgotten=lambda name, generation: self._on_record(name, None, generation),
            on_fatal=self._failures.append,
        )

    def __enter__(self) -> Self:
        self._follower.start()
        self._fleet.start()
        deadline_s = self._clock.monotonic_s() + _TIMEOUT_S
        for reader in (self._follower, self._fleet):
            while not reader.caught_up.wait(_LOOK_S):
                self._check()
                if self._clock.monotonic_s() > deadline_s:
                    self._stop()
                    raise ConnectorError("the control topics", reader.problem or f"not read in {_TIMEOUT_S:g} s")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    @property
    def standing(self) -> AspiredVersions | None:
        """The record that stands now; None where there is none."""
        with self._lock:
            return self._standing[1]

    @property
    def fleet(self) -> Fleet:
        """What is known of all workers now."""
        return self._fleet.fleet()

    def publish(self, edit: Edit) -> int:
        """Publish the record of an edit; returns its generation."""
        return self._publisher.publish(edit.record, _TIMEOUT_S)

    def wait(
        self,
        edit: Edit,
        generation: int,
        timeout_s: float,
        *,
        is_over: Callable[[Progress], bool],
        on_progress: Callable[[Progress], None],
    ) -> Report:
        """Wait until ``is_over``, until another record takes the place of this one, or for ``timeout_s``.

        A record that keeps what the edit asked for, as a source publishes it after a label was moved, is followed.
        """
        record, deadline_s = edit.record, self._clock.monotonic_s() + timeout_s
        while True:
            self._check()
            with self._lock:
                now, standing = self._standing
            if now > generation:
                if standing is None or not edit.is_kept_by(standing):
                    by = "a tombstone" if standing is None else standing.publisher
                    return Report(record, generation, Outcome.SUPERSEDED, self._progress(record, generation), by)
                record, generation = standing, now
            seen = self._progress(record, generation)
            on_progress(seen)
            if is_over(seen):
                outcome = Outcome.FAILED if seen.of(Stage.FAILED) else Outcome.DONE
                return Report(record, generation, outcome, seen)
            if self._clock.monotonic_s() > deadline_s:
                return Report(record, generation, Outcome.TIMED_OUT, seen)
            time.sleep(_LOOK_S)

    def take_back(self, before: AspiredVersions | None, generation: int) -> int | None:
        """Publish the record that stood before ``generation``, or a tombstone where there was none.

        Returns the new generation, or None where somebody else has published meanwhile, which then stands.
        """
        with self._lock:
            if self._standing[0] > generation:
                return None
        if before is None:
            return self._publisher.forget(self._stream, _TIMEOUT_S)
        fresh = msgspec.structs.replace(before, publisher="", published_at_ms=0, found=False)
        return self._publisher.publish(fresh, _TIMEOUT_S)

    def _progress(self, record: AspiredVersions, generation: int) -> Progress:
        fleet = self._fleet.fleet()
        return progress(record, generation, fleet.workers, fleet.states, self._clock.unix_ms())

    def _check(self) -> None:
        if self._failures:
            raise self._failures[0]

    def _stop(self) -> None:
        self._follower.stop()
        self._fleet.stop()
        self._publisher.close()

    def _on_record(self, name: str, record: AspiredVersions | None, generation: int) -> None:
        if name == self._stream:
            with self._lock:
                self._standing = (generation, record)
