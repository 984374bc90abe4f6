"""The Kafka connector: librdkafka moves the records, at-least-once.

Three threads meet here. The feeder polls, and commits between polls what has been delivered; rebalances happen inside
its ``poll``. Who has computed answers: a worker thread, or the feeder, for which another polls then. The connector's
own thread takes delivery reports.
"""

from connectors.kafka.connector import KafkaConnector

__all__ = ["KafkaConnector"]
