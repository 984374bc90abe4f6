"""The servable-states topic: publish what this worker did with each version, and read what all of them did."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline import kafka_properties
from pipeline.control import encoding
from pipeline.control.log_reader import CompactedLog, OnFatal, read_all
from pipeline.errors import ConnectorError, Undecodable
from pipeline.records import ServableState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipeline.clock import Clock

log = logging.getLogger(__name__)

# States are few and the last one per version is the truth: never give one up, and keep their order without a producer
# that an outage can end for good (an idempotent one can).
_DEFAULTS: Final[dict[str, kafka_properties.Scalar]] = {
    "message_timeout_ms": 0,
    "enable_idempotence": False,
    "max_in_flight_requests_per_connection": 1,
    "linger_ms": 0,
    "allow_auto_create_topics": False,
}


class StatePublisher:
    """Called with each state of this worker; returns at once, and publishes in the order of the calls.

    Usable from any thread. The broker may be away: states wait for it. What fails for good is logged and nothing more:
    a worker that can not tell still serves. Raises ConnectorError at once for settings that are none.
    """

    def __init__(self, kafka: Mapping[str, kafka_properties.Scalar], topic: str, worker: str, clock: Clock) -> None:
        self._topic, self._worker, self._clock = topic, worker, clock
        properties = kafka_properties.producer(kafka, worker, **_DEFAULTS)
        try:
            self._producer = Producer({"log_level": 2, **properties})
        except KafkaException as error:
            raise ConnectorError("kafka settings", error.args[0].str()) from error

    def __call__(self, state: ServableState) -> None:
        """Publish one state; the worker's name and the time are filled in where they are empty. Never raises."""
        stamped = msgspec.structs.replace(
            state, worker=state.worker or self._worker, at_ms=state.at_ms or self._clock.unix_ms()
        )
        key, value = encoding.encode_state(stamped)
        self._produce(key, value)

    def forget(self, stream: str, version: int) -> None:
        """Remove this worker's row of a version, for instance one of an earlier life. Never raises."""
        self._produce(f"{self._worker}/{stream}/{version}/1".encode(), encoding.TOMBSTONE)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is published, ``timeout_s`` at most; False, and a line in the log, where something is not."""
        waiting = self._producer.flush(timeout_s)
        if waiting:
            log.warning("topic %s: %d states were not published within %g s", self._topic, waiting, timeout_s)
        return not waiting

    def _produce(self, key: bytes, value: bytes | None) -> None:
        try:
            self._producer.produce(self._topic, value, key, on_delivery=self._on_delivery)
            self._producer.poll(0)
        except (KafkaException, BufferError) as error:
            log.warning("topic %s: the state of %s is not published: %s", self._topic, key.decode(), error)

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            key = (message.key() or b"").decode()
            log.warning("topic %s: the state of %s is not published: %s", self._topic, key, error.str())


class StatesFollower:
    """Keeps the last state of every version on every worker, on a thread of its own; any thread may ask for them.

    ``on_fatal`` as in CompactedLog.
    """

    def __init__(
        self, kafka: Mapping[str, kafka_properties.Scalar], topic: str, client_id: str, on_fatal: OnFatal
    ) -> None:
        self._topic = topic
        self._lock = threading.Lock()
        self._states: dict[bytes | None, ServableState] = {}
        self._reader = CompactedLog(kafka, topic, client_id, on_record=self._on_record, on_fatal=on_fatal)

    @property
    def problem(self) -> str | None:
        """Why the topic can not be read at this moment, and the next step; None while all is well."""
        return self._reader.availability.problem

    def start(self) -> None:
        """Follow until ``stop``; called once. The broker may be away."""
        self._reader.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop and wait, ``timeout_s`` at most. Idempotent."""
        self._reader.stop(timeout_s)

    def states(self) -> list[ServableState]:
        """Return what is known now, sorted by stream, version and worker."""
        with self._lock:
            return _sorted(self._states.values())

    def _on_record(self, key: bytes | None, value: bytes | None, _partition: int, _offset: int) -> None:
        state = None if value is None else _decoded(self._topic, key, value)
        with self._lock:
            if state is not None:
                self._states[key] = state
            elif value is None:
                self._states.pop(key, None)


def read_states(
    kafka: Mapping[str, kafka_properties.Scalar], topic: str, client_id: str = "penstock", timeout_s: float = 10.0
) -> list[ServableState]:
    """Return the last state of every version on every worker, sorted by stream, version and worker.

    Blocks for ``timeout_s`` at most; raises ConnectorError. A record that can not be decoded is logged and left out.
    """
    records = read_all(kafka, topic, client_id, timeout_s).items()
    return _sorted(state for key, value in records if (state := _decoded(topic, key, value)) is not None)


def _decoded(topic: str, key: bytes | None, value: bytes) -> ServableState | None:
    try:
        record = encoding.decode_state(value)
    except Undecodable as error:
        log.warning("topic %s: the state of %r is left out: %s", topic, key, error)
        return None
    return record if isinstance(record, ServableState) else None


def _sorted(states: Iterable[ServableState]) -> list[ServableState]:
    return sorted(states, key=lambda state: (state.stream, state.version, state.worker))
