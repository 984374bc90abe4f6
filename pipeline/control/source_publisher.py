"""Publishes what sources find, without overriding a person: follows both control topics, decides, writes."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from pipeline.control import gate
from pipeline.control.arbiter import Arbiter
from pipeline.control.aspired import AspiredFollower, AspiredPublisher
from pipeline.control.fleet import FleetFollower
from pipeline.control.logs import logs_of
from pipeline.errors import AccessDenied, ConnectorError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipeline.control.logs import OnFatal
    from pipeline.records import AspiredVersions
    from pipeline.settings import Settings

log = logging.getLogger(__name__)

_LOOK_S: Final = 0.1
_IDLE_S: Final = 1.0
_RETRY_S: Final = 1.0
# How long a problem may take to pass before a caller who waits is told.
_GRACE_S: Final = 2.0


class SourcePublisher:
    """Call it with what a source has found; it returns at once. A thread of its own publishes what follows from that.

    Nothing is published before everything that the topics held at the start is known. A broker that is away is waited
    for, and logged once; one that lets us in and not write is fatal.
    With ``watch.halt_on_failure`` a version that fails on one worker is taken out everywhere.
    ``on_published`` is called for each record that the broker has accepted, with its generation; ``on_fatal`` as in
    LogReader.
    """

    def __init__(
        self,
        settings: Settings,
        client_id: str,
        *,
        on_fatal: OnFatal,
        on_published: Callable[[AspiredVersions, int], None] = lambda _record, _generation: None,
    ) -> None:
        logs, control = logs_of(settings), settings.control
        self._arbiter = Arbiter()
        self._on_published, self._on_fatal = on_published, on_fatal
        self._publisher = AspiredPublisher(logs, control.aspired_topic, client_id)
        self._follower = AspiredFollower(
            logs,
            control.aspired_topic,
            client_id,
            on_aspired=self._on_aspired,
            on_forgotten=self._on_forgotten,
            on_fatal=on_fatal,
        )
        is_gated = settings.watch.halt_on_failure
        self._fleet = FleetFollower(logs, control.states_topic, client_id, on_fatal) if is_gated else None
        self._fleet_changes = -1
        self._vetoes: set[gate.Veto] = set()
        self._problem = ""
        self._refused_s: dict[str, float] = {}  # by stream, when that was, until it is published
        self._woken = threading.Event()
        self._is_stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="penstock-publish", daemon=True)

    def __call__(self, found: AspiredVersions) -> None:
        """Take the full set that a source has found of one stream. Never blocks, never raises; any thread."""
        self._arbiter.found(found)
        self._woken.set()

    def start(self) -> None:
        """Follow and publish until ``stop``; called once. The broker may be away."""
        self._follower.start()
        if self._fleet is not None:
            self._fleet.start()
        self._thread.start()

    def finish(self, timeout_s: float) -> None:
        """Wait until all that was found is published or needs not be.

        Raises ConnectorError after ``timeout_s``, and sooner where the reason is known.
        """
        began_s = time.monotonic()
        while not (self._is_caught_up() and self._arbiter.is_idle()):
            self._is_stopping.wait(_LOOK_S)
            problem, waited_s = self._problem or self._follower.problem, time.monotonic() - began_s
            if waited_s > (_GRACE_S if problem else timeout_s):
                problem = problem or f"not within {timeout_s:g} s"
                raise ConnectorError("what was found is not published", problem)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop, and wait for what is being published, ``timeout_s`` at most. Idempotent."""
        self._is_stopping.set()
        self._woken.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._follower.stop()
        if self._fleet is not None:
            self._fleet.stop()
        self._publisher.close()

    def _run(self) -> None:
        try:
            while not self._is_stopping.is_set():
                self._woken.clear()
                self._is_stopping.wait(self._step())
                # What is found wakes it, and what stands in the topic; the fleet and the end of the replay do not.
                is_told = self._fleet is None and self._is_caught_up()
                self._woken.wait(_IDLE_S if is_told else _LOOK_S)
        except Exception as error:  # noqa: BLE001  # whatever it was, nothing would be published any more
            self._on_fatal(error)

    def _step(self) -> float:
        """Publish what is due; return for how many seconds to leave the broker alone."""
        if not self._is_caught_up():
            return 0.0
        if self._fleet is not None:
            self._look_at(self._fleet)
        due = self._arbiter.due()
        while due and not self._is_stopping.is_set():
            # What was refused last comes last: it may be at fault itself, and must not keep the others.
            for record in sorted(due, key=lambda it: self._refused_s.get(it.stream, 0.0)):
                try:
                    generation = self._publisher.publish(record)
                except AccessDenied:
                    raise
                except ConnectorError as error:
                    self._refused_s[record.stream] = time.monotonic()
                    if str(error) != self._problem:
                        self._problem = str(error)
                        log.warning("the aspiration of %s: %s; waiting", record.stream, error)
                    return _RETRY_S
                self._refused_s.pop(record.stream, None)
                self._arbiter.published(record, generation)
                self._problem = ""
                self._on_published(record, generation)
            due = self._arbiter.due()
        return 0.0

    def _is_caught_up(self) -> bool:
        return self._follower.caught_up.is_set() and (self._fleet is None or self._fleet.caught_up.is_set())

    def _look_at(self, fleet: FleetFollower) -> None:
        changes = fleet.changes
        if changes == self._fleet_changes:
            return
        self._fleet_changes = changes
        seen = fleet.fleet()
        vetoes = set(gate.vetoes(seen))
        for veto in sorted(vetoes - self._vetoes, key=str):
            log.warning("halted: %s; it is taken out of the aspired set until its content changes", veto)
        self._vetoes = vetoes
        self._arbiter.halt(gate.halts(seen))

    def _on_aspired(self, record: AspiredVersions, generation: int) -> None:
        self._arbiter.stands(record.stream, record, generation)
        self._woken.set()

    def _on_forgotten(self, stream: str, generation: int) -> None:
        self._arbiter.stands(stream, None, generation)
        self._woken.set()
