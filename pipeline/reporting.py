"""What a worker says on the states topic: each transition of each version, and how far it has followed its streams."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from pipeline.clock import Clock
from pipeline.control.heartbeat import Heartbeat
from pipeline.control.logs import logs_of
from pipeline.control.recovery import Recovery
from pipeline.control.states import StatePublisher
from pipeline.records import Error, ServableState, StreamState, WorkerState
from pipeline.registry.manager import Manager
from pipeline.registry.states import EventBus, VersionState
from pipeline.settings import Settings

log = logging.getLogger(__name__)


class Reporter:
    """Publishes for one worker; nothing is connected before ``start``, and no method waits for a broker but ``close``.

    The states topic gets, in this order: END for what an earlier life of the worker could not end, every transition of
    this life, and between them its signs of life.
    """

    def __init__(self, settings: Settings, worker: str, manager: Manager, bus: EventBus, clock: Clock) -> None:
        self._settings, self._worker, self._manager, self._bus = settings, worker, manager, bus
        self._states: StatePublisher | None = None
        self._recovery: Recovery | None = None
        self._taken_up: dict[str, int] = {}
        self._remarks: dict[str, dict[str, str]] = {}
        self._clock = clock
        self._heartbeat = Heartbeat(worker, self.look, self._beat, clock, settings.worker.heartbeat_interval_s)

    def start(self) -> None:
        """Begin to publish. Raises ConnectorError for settings that are none; a broker that is away is waited for."""
        logs, topic = logs_of(self._settings), self._settings.control.states_topic
        self._states = StatePublisher(logs, topic, self._worker, self._clock)
        self._recovery = Recovery(logs, topic, self._worker, self._recovered)
        self._bus.subscribe(self._on_transition)
        for stream in self._settings.servables:
            self._heartbeat.touch(stream)
        self._recovery.start()
        self._heartbeat.start()

    def taken_up(self, stream: str, generation: int) -> None:
        """Say that an aspiration has gone to the manager, be it one that changes no version. Never blocks."""
        self._taken_up[stream] = generation
        self._heartbeat.touch(stream)

    def remark(self, stream: str, about: str, text: str) -> None:
        """Say something about a stream that a person should know, in place of what was said; empty takes it back.

        Never blocks.
        """
        remarks = {**self._remarks.get(stream, {}), about: text}
        self._remarks[stream] = {key: value for key, value in remarks.items() if value}
        self._heartbeat.touch(stream)

    def update(self, settings: Settings) -> None:
        """Speak of the streams of other settings from now on. Never blocks."""
        before, self._settings = self._settings, settings
        for stream in before.servables.keys() | settings.servables.keys():
            self._heartbeat.touch(stream)

    def look(self, stream: str) -> StreamState | None:
        """Return how far this worker is with a stream, None for one that it does not serve. Never blocks."""
        if stream not in self._settings.servables:
            return None
        snapshot, is_settled = self._manager.snapshot(stream), self._manager.is_settled(stream)
        if snapshot is None:  # never aspired, or forgotten
            generation = self._taken_up.get(stream, -1)
            return StreamState(stream, generation, is_settled=generation >= 0)
        # Of different moments they may say that a version which is still to be loaded will not be.
        is_settled = is_settled and snapshot is self._manager.snapshot(stream)
        notes = (*snapshot.notes, *self._remarks.get(stream, {}).values())
        return StreamState(stream, snapshot.generation, is_settled, snapshot.available, dict(snapshot.labels), notes)

    def close(self, timeout_s: float) -> None:
        """Take back the sign of life, and wait until the states topic has everything. After the manager's close."""
        self._heartbeat.stop()
        if self._states is None or self._recovery is None:
            return
        deadline_s = self._clock.monotonic_s() + timeout_s
        self._recovery.finish(timeout_s)
        self._states.leave()
        self._states.flush(max(0.1, deadline_s - self._clock.monotonic_s()))
        self._states.close()

    def _recovered(self, rows: Iterable[ServableState]) -> None:
        if self._states is not None:
            self._states.recovered(rows)

    def _beat(self, sign: WorkerState) -> bool:
        return self._states is not None and self._states.beat(sign)

    def _on_transition(self, event: VersionState) -> None:
        error = None if event.error is None else Error.of(event.error)
        log.info("%s %s%s", event.id, event.state, f": {error.message}" if error else "")
        if self._states is not None:
            self._states(
                ServableState(
                    self._worker,
                    event.id.name,
                    event.id.version,
                    event.state,
                    error,
                    event.generation,
                    event.incarnation,
                    event.kind,
                    event.path,
                    event.digest,
                    event.load_ms,
                    event.estimate_bytes,
                    event.memory_bytes,
                    event.at_ms,
                    event.description,
                )
            )
        self._heartbeat.touch(event.id.name)
