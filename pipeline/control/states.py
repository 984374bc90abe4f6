"""Writing to the servable-states topic: what this worker did with each version, and that it is alive."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline import kafka_properties, kafka_refusals
from pipeline.control import encoding
from pipeline.control.rows import Change, Rows
from pipeline.errors import ConnectorError
from pipeline.kafka_access import Acl

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipeline.clock import Clock
    from pipeline.records import ServableState, WorkerState

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

    Everything is held until ``recovered`` has been called with the rows that the worker has in the topic: what it says
    comes after what has to be said about its earlier life. Usable from any thread. The broker may be away: states wait
    for it. What fails for good is logged and nothing more: a worker that can not tell still serves. Raises
    ConnectorError at once for settings that are none.
    """

    def __init__(self, kafka: Mapping[str, kafka_properties.Scalar], topic: str, worker: str, clock: Clock) -> None:
        self._topic, self._worker, self._clock = topic, worker, clock
        self._lock = threading.Lock()
        self._rows = Rows(worker)
        self._encoder = encoding.WorkerEncoder()
        self._held: list[ServableState] = []
        self._is_recovered = False
        self._is_beat_in_flight = False
        self._properties = kafka_properties.producer(kafka, worker, **_DEFAULTS)
        self._problem = ""  # what was logged last, and holds
        try:
            # Why the broker is away is told by who reads; without the callback librdkafka would print it as it is.
            self._producer = Producer({"log_level": 2, **self._properties, "error_cb": lambda _error: None})
        except KafkaException as error:
            raise ConnectorError("kafka settings", error.args[0].str()) from error

    def recovered(self, found: Iterable[ServableState]) -> None:
        """Say what an earlier life could not, then all that was held. Called once."""
        with self._lock:
            self._produce(self._rows.recover(found, self._clock.unix_ms()))
            held, self._held, self._is_recovered = self._held, [], True
            for state in held:
                self._produce(self._rows.take(state))
        self._producer.poll(0)

    def __call__(self, state: ServableState) -> None:
        """Publish one state; the time is filled in where it is empty, the worker's name always. Never raises."""
        stamped = msgspec.structs.replace(state, worker=self._worker, at_ms=state.at_ms or self._clock.unix_ms())
        with self._lock:
            if self._is_recovered:
                self._produce(self._rows.take(stamped))
            else:
                self._held.append(stamped)
        self._producer.poll(0)

    def beat(self, sign: WorkerState) -> bool:
        """Publish a sign of life; False where the one before has not been accepted yet, and this one is left out."""
        self._producer.poll(0)
        with self._lock:
            if not self._is_recovered or self._is_beat_in_flight:
                return False
            self._is_beat_in_flight = True
            self._send(*self._encoder.encode(sign))
        return True

    def leave(self) -> None:
        """Remove the sign of life: this worker stops in good order. Never raises."""
        with self._lock:
            self._send(self._worker.encode(), encoding.TOMBSTONE)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is published, ``timeout_s`` at most; False, and a line in the log, where something is not."""
        waiting = self._producer.flush(timeout_s) + len(self._held)
        if waiting:
            log.warning("topic %s: %d states were not published within %g s", self._topic, waiting, timeout_s)
        return not waiting

    def _produce(self, changes: Iterable[Change]) -> None:
        for key, row in changes:
            self._send(key.encode(), encoding.TOMBSTONE if row is None else encoding.encode_state(row)[1])

    def _send(self, key: bytes, value: bytes | None) -> None:
        try:
            self._producer.produce(self._topic, value, key, on_delivery=self._on_delivery)
        except (KafkaException, BufferError) as error:
            self._is_beat_in_flight = False
            reason: KafkaError | None = error.args[0] if isinstance(error, KafkaException) else None
            self._tell(key.decode(), reason, str(error))

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        key = (message.key() or b"").decode()
        if key == self._worker:
            self._is_beat_in_flight = False
        if error is not None:
            self._tell(key, error, error.str())
        elif self._problem:
            self._problem = ""
            log.warning("topic %s: states are published again", self._topic)

    def _tell(self, key: str, error: KafkaError | None, text: str) -> None:
        """Log why a state is not published; a missing ACL, which each sign of life would meet again, once."""
        refusal = error and kafka_refusals.explain_request(error, self._properties, Acl("topic", self._topic, "Write"))
        if refusal:
            text = str(refusal)
            if text == self._problem:
                return
            self._problem = text
        log.warning("topic %s: the state of %s is not published: %s", self._topic, key, text)
