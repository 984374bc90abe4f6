"""The headers of a dead letter: Spring Kafka's set, which existing tools read, and our own."""

from __future__ import annotations

import struct

from pipeline.connector import Headers, Record
from pipeline.records import Error


def headers(record: Record, error: Error, group: str) -> list[tuple[str, bytes | None]]:
    """Return the record's own headers, untouched and first, then the reason.

    Numbers of Spring's set are big-endian, as its Java converters write them; ours are text.
    """
    own: Headers = record.headers
    return [
        *own,
        ("kafka_dlt-original-topic", record.topic.encode()),
        ("kafka_dlt-original-partition", struct.pack(">i", record.partition)),
        ("kafka_dlt-original-offset", struct.pack(">q", record.offset)),
        ("kafka_dlt-original-timestamp", struct.pack(">q", record.timestamp_ms)),
        ("kafka_dlt-original-consumer-group", group.encode()),
        ("kafka_dlt-exception-fqcn", f"penstock.{error.code}".encode()),
        ("kafka_dlt-exception-message", error.message.encode()),
        ("penstock-error-code", error.code.encode()),
        ("penstock-error-message", error.message.encode()),
        ("penstock-error-retriable", b"true" if error.retriable else b"false"),
    ]
