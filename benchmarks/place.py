"""Where one measurement happens: names nobody else uses, and its topics on the broker."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from confluent_kafka import ConsumerGroupState, ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec  # type: ignore[attr-defined]  # re-exported without saying so

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
        admin = self.admin()  # named: its futures fail when it goes
        for future in admin.create_topics(self.topics, operation_timeout=_TIMEOUT_S).values():
            future.result(_TIMEOUT_S)
        for topic in (self.requests, self.results):
            Watch(self, topic).wait_for_leaders()

    def delete_topics(self) -> None:
        """Delete them, so that the disk holds one measurement at a time."""
        admin = self.admin()
        names = [topic.topic for topic in self.topics]
        for future in admin.delete_topics(names, operation_timeout=_TIMEOUT_S).values():
            future.result(_TIMEOUT_S)

    def uncommitted(self) -> int:
        """Return how many requests the group would be given again."""
        watch = Watch(self, self.requests)
        return watch.end() - watch.committed()

    def assigned(self) -> list[int]:
        """Return how many partitions each member of the contender's group has; empty while it is not stable."""
        admin = self.admin()  # as above
        described = admin.describe_consumer_groups([self.group])[self.group].result(_TIMEOUT_S)
        if described.state != ConsumerGroupState.STABLE:
            return []
        return [len(member.assignment.topic_partitions) for member in described.members]

    def admin(self) -> AdminClient:
        """Return a client; keep it as long as what it has returned is awaited."""
        return AdminClient({"bootstrap.servers": self.bootstrap, "log_level": 0})  # what goes wrong is raised


class Watch:
    """Looks at a topic, and at how far a group has committed it, without joining the group.

    With one request for all partitions, whose number must not count in what is measured beside it.
    """

    def __init__(self, place: Place, topic: str) -> None:
        self._admin, self._group = place.admin(), place.group
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
        latest: OffsetSpec = OffsetSpec.latest()  # type: ignore[no-untyped-call]  # the client's
        found = self._admin.list_offsets(dict.fromkeys(self._partitions, latest))
        return sum(future.result(_TIMEOUT_S).offset for future in found.values())

    def committed(self) -> int:
        """Return how many records of the topic the group has committed."""
        # What a transaction that is open will commit is not waited for: one mostly is.
        found = self._admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(self._group, self._partitions)])
        return sum(max(0, p.offset) for p in found[self._group].result(_TIMEOUT_S).topic_partitions)
