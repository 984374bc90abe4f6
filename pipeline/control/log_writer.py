"""Writing to a compacted topic: one record at a time, accepted by the broker before the caller goes on."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline import kafka_properties
from pipeline.control.error_codes import MISSING
from pipeline.errors import ConnectorError

if TYPE_CHECKING:
    from collections.abc import Mapping

_METADATA_TIMEOUT_S: Final = 2.0


class LogWriter:
    """Writes records in the order of the calls. Any thread may call; connects on first use, never creates a topic."""

    def __init__(self, kafka: Mapping[str, kafka_properties.Scalar], topic: str, client_id: str) -> None:
        self._kafka, self._topic, self._client_id = kafka, topic, client_id
        self._lock = threading.Lock()
        self._producer: Producer | None = None

    def write(self, key: bytes, value: bytes | None, timeout_s: float) -> int:
        """Return the offset of the record once the broker has accepted it.

        Blocks for ``timeout_s`` at most, after those who called before. Raises ConnectorError, and the record is then
        given up: the producer goes with it, so that it can not arrive after later ones. (One that was on its way when
        the broker went may have arrived.)
        """
        with self._lock:
            deadline = time.monotonic() + timeout_s
            outcome: list[int | KafkaError] = []

            def delivered(error: KafkaError | None, message: Message) -> None:
                outcome.append(error or message.offset() or 0)

            try:
                if self._producer is None:
                    self._producer = self._connect(timeout_s)
                self._producer.produce(self._topic, value, key, on_delivery=delivered)
                while not outcome and (left_s := deadline - time.monotonic()) > 0:
                    self._producer.poll(min(left_s, 0.1))
            except (KafkaException, BufferError) as error:
                raise ConnectorError(f"topic {self._topic}", str(error)) from error
            if outcome and isinstance(outcome[0], int):
                return outcome[0]
            reason = _reason(outcome[0] if outcome else None, timeout_s)
            self._give_up()
            raise ConnectorError(f"topic {self._topic}", reason)

    def close(self, timeout_s: float) -> None:
        """Let go of the connection, ``timeout_s`` at most. Idempotent; a later ``write`` connects anew."""
        with self._lock:
            if self._producer is not None:
                self._producer.flush(timeout_s)
                self._producer = None

    def _connect(self, timeout_s: float) -> Producer:
        properties = kafka_properties.producer(
            self._kafka,
            self._client_id,
            linger_ms=0,
            allow_auto_create_topics=False,  # the broker would make a topic that is not compacted
            topic_metadata_propagation_max_ms=3000,
        )
        producer = Producer({"log_level": 2, **properties})  # what goes wrong is raised
        # An idempotent producer that is given a record first takes up to a second to find its broker.
        with contextlib.suppress(KafkaException):  # tried again with the record, which then fails with the reason
            producer.list_topics(self._topic, timeout=min(timeout_s, _METADATA_TIMEOUT_S))
        return producer

    def _give_up(self) -> None:
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(1)
            self._producer = None


def _reason(error: object, timeout_s: float) -> str:
    if not isinstance(error, KafkaError):
        return f"the broker did not accept the record within {timeout_s:g} s; is it running, and is its address right?"
    if error.code() in MISSING:
        return "it does not exist; create it with: penstock topics --create"
    if error.code() == KafkaError.TOPIC_AUTHORIZATION_FAILED:
        return f"{error.str()}; a publisher needs the ACL Write on it"
    return f"{error.str()} ({error.name()})"
