"""The section ``topics``: how a topic is created, where that is not what Penstock would choose."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

import msgspec

from pipeline.errors import InvalidSettings
from pipeline.settings.section import Scalar, Section

_NOT_YOURS: Final = "cleanup.policy"


class TopicSettings(Section, frozen=True):
    """One topic, by its name. 0 is what the command line says, or the broker's default.

    ``config`` holds Kafka's own settings of a topic, such as ``retention.ms`` or ``min.insync.replicas``.
    """

    partitions: int = 0
    replication_factor: int = 0
    config: dict[str, Scalar] = msgspec.field(default_factory=dict)


def check_topic(topic: TopicSettings, place: str, *, is_control: bool) -> None:
    """Raise InvalidSettings for what is out of range, or not a user's to set."""
    for field in ("partitions", "replication_factor"):
        if getattr(topic, field) < 0:
            raise InvalidSettings(f"{place}.{field}", f"must not be negative, got {getattr(topic, field)}")
    if is_control and topic.partitions > 1:
        reason = "a control topic has one partition: the generations of a stream are its offsets"
        raise InvalidSettings(f"{place}.partitions", reason)
    if _NOT_YOURS in topic.config:
        reason = f"{_NOT_YOURS} follows from what the topic is for: with another one, records would vanish"
        raise InvalidSettings(f"{place}.config", reason)


def check_names(topics: Collection[str], needed: Collection[str], place: str) -> None:
    """Raise InvalidSettings for a topic that nobody needs: most likely it is misspelt."""
    for name in topics:
        if name not in needed:
            raise InvalidSettings(f"{place}.{name}", f"no route needs it; these are needed: {', '.join(needed)}")
