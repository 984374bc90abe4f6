"""From the records that sources publish to the targets that aspirations go to: a source without a topic between."""

from __future__ import annotations

from collections.abc import Callable

from pipeline.records import AspiredVersions
from pipeline.registry.servable import ServableId
from pipeline.registry.source import Aspired, Target


def to_target(target: Target[str]) -> Callable[[AspiredVersions], None]:
    """Return what passes each record on to ``target``: paths as data, no generation."""

    def publish(record: AspiredVersions) -> None:
        items = [
            Aspired(ServableId(record.stream, it.version), it.path, None, -1, record.kind, it.path, it.digest)
            for it in record.versions
        ]
        target.set_aspired(record.stream, items, record.labels, -1)

    return publish
