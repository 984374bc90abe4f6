"""Writing to a compacted topic: one record at a time, accepted by the broker before the caller goes on."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline import kafka_properties, kafka_refusals
from pipeline.control.error_codes import MISSING
from pipeline.errors import ConnectorError
from pipeline.kafka_access import Acl

if TYPE_CHECKING:
    from collections.abc import Mapping

_METADATA_TIMEOUT_S: Final = 2.0


class KafkaLogWriter:
    """See LogWriter; never creates a topic."""

    def __init__(self, kafka: Mapping[str, kafka_properties.Scalar], topic: str, client_id: str) -> None:
        self._kafka, self._topic, self._client_id = kafka, topic, client_id
        self._lock = threading.Lock()
        self._producer: Producer | None = None
        self._refusal: ConnectorError | None = None  # why the broker did not let us in when it was tried last

    def write(self, key: bytes, value: bytes | None, timeout_s: float) -> int:
        """See LogWriter: a record that is given up takes the producer with it."""
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
            except KafkaException as error:
                raise self._failure(error.args[0], timeout_s) from error
            except BufferError as error:
                raise ConnectorError(f"topic {self._topic}", str(error)) from error
            if outcome and isinstance(outcome[0], int):
                return outcome[0]
            failure = self._failure(outcome[0] if outcome else None, timeout_s)
            self._give_up()
            raise failure

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
        self._refusal = None
        producer = Producer({"log_level": 2, **properties, "error_cb": self._on_error})  # what goes wrong is raised
        # An idempotent producer that is given a record first takes up to a second to find its broker.
        with contextlib.suppress(KafkaException):  # tried again with the record, which then fails with the reason
            producer.list_topics(self._topic, timeout=min(timeout_s, _METADATA_TIMEOUT_S))
        return producer

    def _on_error(self, error: KafkaError) -> None:
        self._refusal = kafka_refusals.explain(error, self._kafka) or self._refusal

    def _failure(self, error: object, timeout_s: float) -> ConnectorError:
        what = f"topic {self._topic}"
        if not isinstance(error, KafkaError):
            reason = f"the broker did not accept the record within {timeout_s:g} s"
            return self._refusal or ConnectorError(what, f"{reason}; is it running, and is its address right?")
        if error.code() in MISSING:
            return ConnectorError(what, "it does not exist; create it with: penstock topics --create")
        refusal = kafka_refusals.explain_request(error, self._kafka, Acl("topic", self._topic, "Write"))
        return refusal or ConnectorError(what, kafka_refusals.text_of(error, self._kafka))

    def _give_up(self) -> None:
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(1)
            self._producer = None
