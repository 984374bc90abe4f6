"""KafkaOutbox: records to a compacted topic, without having anybody wait."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline import kafka_properties, kafka_refusals
from pipeline.errors import ConnectorError
from pipeline.kafka_access import Acl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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


class KafkaOutbox:
    """See Outbox; ``on_done`` as in Logs."""

    def __init__(
        self,
        kafka: Mapping[str, kafka_properties.Scalar],
        topic: str,
        client_id: str,
        on_done: Callable[[bytes], None],
    ) -> None:
        self._topic, self._on_done = topic, on_done
        self._properties = kafka_properties.producer(kafka, client_id, **_DEFAULTS)
        self._problem = ""  # what was logged last, and holds
        try:
            # Why the broker is away is told by who reads; without the callback librdkafka would print it as it is.
            self._producer = Producer({"log_level": 2, **self._properties, "error_cb": lambda _error: None})
        except KafkaException as error:
            raise ConnectorError("kafka settings", error.args[0].str()) from error

    def send(self, key: bytes, value: bytes | None) -> None:
        """See Outbox."""
        try:
            self._producer.produce(self._topic, value, key, on_delivery=self._on_delivery)
        except (KafkaException, BufferError) as error:
            self._on_done(key)
            reason: KafkaError | None = error.args[0] if isinstance(error, KafkaException) else None
            self._tell(key.decode(), reason, str(error))

    def poll(self) -> None:
        """See Outbox: handle the delivery reports that have come."""
        self._producer.poll(0)

    def flush(self, timeout_s: float) -> int:
        """See Outbox."""
        return self._producer.flush(timeout_s)

    def close(self) -> None:
        """See Outbox: librdkafka lets go when the producer does."""

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        key = message.key() or b""
        self._on_done(key)
        if error is not None:
            self._tell(key.decode(), error, error.str())
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
