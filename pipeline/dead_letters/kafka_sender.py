"""Sending requests back to topics of Kafka."""

from __future__ import annotations

from typing import Any, Final, Self

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline import kafka_properties, kafka_refusals
from pipeline.dead_letters import headers
from pipeline.dead_letters.kafka_reader import Kafka
from pipeline.dead_letters.letters import DeadLetter
from pipeline.errors import ConnectorError
from pipeline.kafka_access import Acl

_TIMEOUT_S: Final = 30.0


class KafkaLetterSender:
    """See LetterSender: key, value and headers, on the partition that the request had, where the topic is its own.

    Else, and where the topic has no such partition any more, the key decides.
    """

    def __init__(self, kafka: Kafka) -> None:
        self._kafka = kafka
        properties: dict[str, Any] = {
            "log_level": 2,
            **kafka_properties.producer(kafka, "penstock-replay", linger_ms=5),
        }
        properties["error_cb"] = lambda _error: None  # what goes wrong is raised; else librdkafka would print it
        properties.setdefault("message.max.bytes", 1_000_000_000)  # the topic says what is too large
        try:
            self._producer = Producer(properties)
        except KafkaException as error:
            raise ConnectorError("kafka settings", str(error)) from error
        self._partitions: dict[str, int] = {}
        self._failure: ConnectorError | None = None
        self.sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """See LetterSender: a producer has nothing to close."""

    def send(self, letter: DeadLetter, topic: str) -> None:
        """See LetterSender."""
        said, partition = letter.said, -1
        if topic == said.topic and said.partition is not None and said.partition < self._partition_count(topic):
            partition = said.partition
        elif not self._partition_count(topic):
            raise ConnectorError(f"topic {topic}", "does not exist; name another with --to, or create it")

        def on_delivery(error: KafkaError | None, _message: Message) -> None:
            if error is None:
                self.sent += 1
            else:
                self._refuse(letter, topic, error)

        own: list[tuple[str, str | bytes | None]] = [*headers.for_replay(said)]
        while True:
            try:
                self._producer.produce(topic, letter.value, letter.key, partition, on_delivery=on_delivery, headers=own)
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                self._refuse(letter, topic, error.args[0])
                return
            else:
                return

    def accept(self) -> None:
        """See LetterSender."""
        left = self._producer.flush(_TIMEOUT_S)
        if self._failure is not None:
            raise self._failure
        if left:
            raise ConnectorError("replay", f"{left} letters were not accepted within {_TIMEOUT_S:g} s")

    def _refuse(self, letter: DeadLetter, topic: str, error: KafkaError) -> None:
        if self._failure is None:
            reason = f"refused the letter {letter.place}: {kafka_refusals.text_of(error, self._kafka)}"
            refusal = kafka_refusals.explain_request(error, self._kafka, Acl("topic", topic, "Write"))
            self._failure = refusal or ConnectorError(f"topic {topic}", reason)

    def _partition_count(self, topic: str) -> int:
        count = self._partitions.get(topic)
        if count is None:
            try:
                # All topics: asking for one by name may create it.
                found = self._producer.list_topics(timeout=_TIMEOUT_S).topics.get(topic)
            except KafkaException as error:
                raise ConnectorError(f"topic {topic}", str(error.args[0])) from error
            count = self._partitions[topic] = len(found.partitions) if found is not None else 0
        return count
