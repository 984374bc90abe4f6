"""A request as Kafka delivered it, with what only Kafka knows of it."""

from __future__ import annotations

from confluent_kafka import Message

from pipeline import kafka_headers
from pipeline.connector import Headers, Record
from pipeline.errors import Undecodable


class KafkaRecord(Record, frozen=True, gc=False):
    """``timestamp_type`` is 1 where the producer set the timestamp, 2 where the broker did, 0 where there is none."""

    timestamp_type: int = 1


def record_of(message: Message, topic: str, partition: int, offset: int, kills: int) -> KafkaRecord:
    """Return the record of a message, which stands at that place; what can not be read of it is a ``fault``."""
    headers: Headers = ()
    fault = ""
    try:
        headers = kafka_headers.of(message)
    except Undecodable as error:
        fault = error.reason
    value, key, (kind, timestamp_ms) = message.value(), message.key(), message.timestamp()
    return KafkaRecord(
        b"" if value is None else value, key, headers, topic, partition, offset, timestamp_ms, fault, kills, kind
    )
