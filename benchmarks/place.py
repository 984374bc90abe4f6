"""Where one measurement happens: names nobody else uses, and its topics on the broker."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from confluent_kafka import Consumer, ConsumerGroupState, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # re-exported without saying so

if TYPE_CHECKING:
    from pathlib import Path

PARTITIONS: Final = 4
MOST_RECORD_BYTES: Final = 10_000_000
_TIMEOUT_S: Final = 30.0


@dataclass(frozen=True)
class Place:
    """One broker, one folder for configuration and logs, one model, and topics and groups that start with ``name``."""

    bootstrap: str
    folder: Path
    models: Path
    name: str
    partitions: int = PARTITIONS

    @property
    def requests(self) -> str:
        """The request topic."""
        return f"{self.name}.requests"

    @property
    def results(self) -> str:
        """The result topic; its timestamps are the broker's own."""
        return f"{self.name}.results"

    @property
    def states(self) -> str:
        """The topic in which our worker says what it did with each version."""
        return f"{self.name}.servable-states"

    @property
    def group(self) -> str:
        """The contender's consumer group."""
        return f"{self.name}.group"

    @property
    def topics(self) -> list[NewTopic]:
        """Every topic that a contender may need."""
        results = {"message.timestamp.type": "LogAppendTime"}
        compact = {"cleanup.policy": "compact"}
        return [
            NewTopic(self.requests, self.partitions, 1, config={"max.message.bytes": str(MOST_RECORD_BYTES)}),
            NewTopic(self.results, self.partitions, 1, config=results),
            NewTopic(f"{self.requests}-dlt", self.partitions, 1),
            NewTopic(f"{self.name}.aspired-versions", 1, 1, config=compact),
            NewTopic(self.states, 1, 1, config=compact),
        ]

    def create_topics(self) -> None:
        """Create them and return when every partition can be used; raises KafkaException."""
        admin = self._admin()  # named: its futures fail when it goes
        for future in admin.create_topics(self.topics, operation_timeout=_TIMEOUT_S).values():
            future.result(_TIMEOUT_S)
        for topic in (self.requests, self.results):
            watch = Watch(self, topic)
            try:
                watch.wait_for_leaders()
            finally:
                watch.close()

    def delete_topics(self) -> None:
        """Delete them, so that the disk holds one measurement at a time."""
        admin = self._admin()
        names = [topic.topic for topic in self.topics]
        for future in admin.delete_topics(names, operation_timeout=_TIMEOUT_S).values():
            future.result(_TIMEOUT_S)

    def uncommitted(self) -> int:
        """Return how many requests the group would be given again."""
        watch = Watch(self, self.requests)
        try:
            return watch.end() - watch.committed()
        finally:
            watch.close()

    def assigned(self) -> list[int]:
        """Return how many partitions each member of the contender's group has; empty while it is not stable."""
        admin = self._admin()  # as above
        described = admin.describe_consumer_groups([self.group])[self.group].result(_TIMEOUT_S)
        if described.state != ConsumerGroupState.STABLE:
            return []
        return [len(member.assignment.topic_partitions) for member in described.members]

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})  # what goes wrong is raised


class Watch:
    """Looks at a topic, and at how far a group has committed it, without joining the group. Close it."""

    def __init__(self, place: Place, topic: str) -> None:
        # Uncommitted: else it would wait for the offsets of a transaction that is open, and one mostly is.
        properties = {"isolation.level": "read_uncommitted", "log_level": 0}
        self._consumer = Consumer({"bootstrap.servers": place.bootstrap, "group.id": place.group, **properties})
        self._partitions = [TopicPartition(topic, number) for number in range(place.partitions)]

    def wait_for_leaders(self) -> None:
        """Return when the broker answers for every partition: a moment after a topic was created."""
        deadline_s = time.monotonic() + _TIMEOUT_S
        while True:
            try:
                self.end()
            except KafkaException:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.05)
            else:
                return

    def end(self) -> int:
        """Return how many records the topic has."""
        marks = [self._consumer.get_watermark_offsets(p, timeout=_TIMEOUT_S, cached=False) for p in self._partitions]
        return sum(high for _, high in marks)

    def committed(self) -> int:
        """Return how many records of the topic the group has committed."""
        return sum(max(0, p.offset) for p in self._consumer.committed(self._partitions, timeout=_TIMEOUT_S))

    def close(self) -> None:
        """Close the connection."""
        self._consumer.close()
