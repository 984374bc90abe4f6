"""Reading the servable-states topic: which versions every worker has, and which workers are alive."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

import msgspec

from pipeline.control import encoding
from pipeline.control.logs import read_all
from pipeline.errors import Undecodable
from pipeline.records import ServableState, WorkerState

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipeline.control.logs import Logs, OnFatal

log = logging.getLogger(__name__)

_MISSED_INTERVALS: Final = 3


class Fleet(msgspec.Struct, frozen=True):
    """What is known of all workers at one moment: states sorted by stream, version and worker; workers by name."""

    states: tuple[ServableState, ...] = ()
    workers: tuple[WorkerState, ...] = ()


def is_vanished(worker: WorkerState, now_ms: int) -> bool:
    """Whether a worker has missed three signs of life. The clocks of worker and reader are taken to agree. Pure."""
    return now_ms - worker.at_ms > _MISSED_INTERVALS * worker.interval_ms


class FleetFollower:
    """Keeps the last of every record in the topic, on a thread of its own; any thread may ask for them.

    ``on_fatal`` as in LogReader.
    """

    def __init__(self, logs: Logs, topic: str, client_id: str, on_fatal: OnFatal) -> None:
        self._topic = topic
        self._lock = threading.Lock()
        self._records: dict[bytes | None, ServableState | WorkerState] = {}
        self._changes = 0
        # The last of each, undecoded, until the end of the topic is reached: signs of life are many, and only the last
        # of a worker counts.
        self._replayed: dict[bytes | None, bytes] = {}
        self._reader = logs.reader(
            topic, client_id, on_record=self._on_record, on_fatal=on_fatal, on_caught_up=self._on_caught_up
        )

    @property
    def problem(self) -> str | None:
        """Why the topic can not be read at this moment, and the next step; None while all is well."""
        return self._reader.problem

    @property
    def caught_up(self) -> threading.Event:
        """Set when everything that the topic held at the start is known."""
        return self._reader.caught_up

    @property
    def changes(self) -> int:
        """How many records about versions have come so far; signs of life do not count."""
        return self._changes

    def start(self) -> None:
        """Follow until ``stop``; called once. The broker may be away."""
        self._reader.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop and wait, ``timeout_s`` at most. Idempotent."""
        self._reader.stop(timeout_s)

    def fleet(self) -> Fleet:
        """Return what is known now."""
        with self._lock:
            return _fleet(self._records.values())

    def _on_record(self, key: bytes | None, value: bytes | None, _partition: int, _offset: int) -> None:
        if self.caught_up.is_set():
            self._take(key, value)
        elif value is None:
            self._replayed.pop(key, None)
        else:
            self._replayed[key] = value

    def _on_caught_up(self) -> None:
        replayed, self._replayed = self._replayed, {}
        for key, value in replayed.items():
            self._take(key, value)

    def _take(self, key: bytes | None, value: bytes | None) -> None:
        record = None if value is None else _decoded(self._topic, key, value)
        with self._lock:
            if not isinstance(record, WorkerState):
                self._changes += 1
            if record is not None:
                self._records[key] = record
            elif value is None:
                self._records.pop(key, None)


def read_fleet(logs: Logs, topic: str, timeout_s: float = 10.0) -> Fleet:
    """Return what the topic holds now.

    Blocks for ``timeout_s`` at most; raises ConnectorError. A record that can not be decoded is logged and left out.
    """
    records = read_all(logs, topic, timeout_s).items()
    return _fleet(record for key, value in records if (record := _decoded(topic, key, value)) is not None)


def _decoded(topic: str, key: bytes | None, value: bytes) -> ServableState | WorkerState | None:
    try:
        return encoding.decode_state(value)
    except Undecodable as error:
        log.warning("topic %s: the record of %r is left out: %s", topic, key, error)
        return None


def _fleet(records: Iterable[ServableState | WorkerState]) -> Fleet:
    records = list(records)
    states = [record for record in records if isinstance(record, ServableState)]
    workers = [record for record in records if isinstance(record, WorkerState)]
    states.sort(key=lambda state: (state.stream, state.version, state.worker, state.incarnation))
    workers.sort(key=lambda worker: worker.worker)
    return Fleet(tuple(states), tuple(workers))
