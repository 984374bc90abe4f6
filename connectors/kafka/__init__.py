"""The Kafka connector: librdkafka moves the records, at-least-once.

Three threads meet here. The feeder polls (rebalances happen inside its ``poll``), a worker thread answers, and the
connector's own thread takes delivery reports and commits what has been delivered meanwhile.
"""

from connectors.kafka.connector import KafkaConnector

__all__ = ["KafkaConnector"]
