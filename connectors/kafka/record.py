"""A request as Kafka delivered it, with what only Kafka knows of it."""

from __future__ import annotations

from pipeline.connector import Record


class KafkaRecord(Record, frozen=True, gc=False):
    """``timestamp_type`` is 1 where the producer set the timestamp, 2 where the broker did, 0 where there is none."""

    timestamp_type: int = 1
