"""KafkaLogs: control logs as compacted topics of Kafka."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from confluent_kafka import Consumer

from pipeline.control.kafka_log_reader import KafkaLogReader, MakeConsumer
from pipeline.control.kafka_log_writer import KafkaLogWriter
from pipeline.control.kafka_outbox import KafkaOutbox

if TYPE_CHECKING:
    from pipeline.control.logs import OnFatal, OnRecord
    from pipeline.kafka_properties import Scalar


class KafkaLogs:
    """See Logs. A generation is the offset of the record: a control topic has one partition."""

    def __init__(self, kafka: Mapping[str, Scalar], make_consumer: MakeConsumer = Consumer) -> None:
        """``kafka`` is the section of the settings."""
        self._kafka, self._make_consumer = kafka, make_consumer

    def reader(
        self,
        topic: str,
        client_id: str,
        *,
        on_record: OnRecord,
        on_fatal: OnFatal,
        on_caught_up: Callable[[], None] = lambda: None,
        log_level: int = logging.WARNING,
    ) -> KafkaLogReader:
        """See Logs."""
        return KafkaLogReader(
            self._kafka,
            topic,
            client_id,
            on_record=on_record,
            on_fatal=on_fatal,
            on_caught_up=on_caught_up,
            make_consumer=self._make_consumer,
            log_level=log_level,
        )

    def writer(self, topic: str, client_id: str) -> KafkaLogWriter:
        """See Logs."""
        return KafkaLogWriter(self._kafka, topic, client_id)

    def outbox(self, topic: str, client_id: str, on_done: Callable[[bytes], None]) -> KafkaOutbox:
        """See Logs."""
        return KafkaOutbox(self._kafka, topic, client_id, on_done)
