"""librdkafka's error codes by what they mean for a control topic."""
# ruff: noqa: SLF001  # the codes that are the client's own, not the broker's, begin with an underscore

from __future__ import annotations

from typing import Final

from confluent_kafka import KafkaError

from pipeline.kafka_refusals import NO_SUCH_TOPIC

PARTITION_EOF: Final = KafkaError._PARTITION_EOF
MISSING: Final = NO_SUCH_TOPIC | {KafkaError._UNKNOWN_PARTITION}
# All of them say that no broker answers.
AWAY: Final = frozenset(
    {KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE,
     KafkaError.LEADER_NOT_AVAILABLE, KafkaError.BROKER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION}
)  # fmt: skip
# To a reader that joins no group it means nothing.
NO_GROUP: Final = KafkaError.GROUP_AUTHORIZATION_FAILED
# Told about one connection. With several brokers it may mean nothing; what does matter is told by a request too.
ONE_BROKER: Final = frozenset({KafkaError._TRANSPORT, KafkaError._RESOLVE})
# What waiting does not heal. Everything else librdkafka tries again by itself.
FATAL: Final = frozenset({KafkaError._FATAL, KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.TOPIC_EXCEPTION})
