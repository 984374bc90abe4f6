"""The Kafka connector: librdkafka moves the records, at-least-once.

Three threads meet here. The feeder polls, and commits between polls what has been delivered; rebalances happen inside
its ``poll``. A worker thread answers. The connector's own thread takes delivery reports.
"""

from connectors.kafka.connector import KafkaConnector

__all__ = ["KafkaConnector"]
