"""Where control logs are, for tests that run at each broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.control.kafka_logs import KafkaLogs
from pipeline.control.logs import logs_of
from pipeline.control.topic_admin import create_missing
from pipeline.control.topics import TopicSpec
from pipeline.local.kafka import LocalKafka
from pipeline.local.redis import LocalRedis
from pipeline.settings import ControlSettings, RedisSettings, Settings

if TYPE_CHECKING:
    from pipeline.control.logs import Logs

DEADLINE_S = 15.0
BROKERS = ("kafka", "redis")


def compacted(name: str, partitions: int = 1) -> TopicSpec:
    return TopicSpec(name, partitions, {"cleanup.policy": "compact"}, "test")


def settings_at(broker: str, address: str) -> Settings:
    """Settings with the control logs at one broker."""
    control = ControlSettings(connector=broker)
    if broker == "redis":
        return Settings(redis=RedisSettings(url=address), control=control)
    return Settings(kafka={"bootstrap.servers": address}, control=control)


class Place:
    """The logs of one broker, and how a log is made there."""

    def __init__(self, broker: str, address: str) -> None:
        self.broker, self.settings = broker, settings_at(broker, address)
        self.logs: Logs = logs_of(self.settings)

    def make(self, topic: str) -> str:
        if isinstance(self.logs, KafkaLogs):
            create_missing(self.settings.kafka, [compacted(topic)])
        return topic


def local(broker: str) -> LocalKafka | LocalRedis:
    """A broker that may be killed, and keeps its data."""
    return LocalRedis(append_only=True) if broker == "redis" else LocalKafka()


def address_of(server: LocalKafka | LocalRedis) -> str:
    return server.url if isinstance(server, LocalRedis) else server.bootstrap
