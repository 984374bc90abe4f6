"""The section ``headers`` of a route: by which names of headers each meaning is understood."""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.errors import InvalidSettings
from pipeline.settings.section import Section

# What Spring writes as four bytes, big-endian, where others write decimal text.
BINARY_PARTITION: Final = "kafka_replyPartition"


class HeaderNames(Section, frozen=True):
    """The names of each meaning, our own first; what is set replaces the whole list, and an empty one turns it off."""

    content_type: tuple[str, ...] = ("content-type",)
    json_bytes: tuple[str, ...] = ("Inference-Header-Content-Length",)
    id: tuple[str, ...] = ("x-request-id", "ce_id")
    servable: tuple[str, ...] = ("model", "mlserver-model", "seldon-model")
    version: tuple[str, ...] = ("model-version", "mlserver-version")
    deadline_ms: tuple[str, ...] = ("deadline-ms",)
    timeout_ms: tuple[str, ...] = ("timeout-ms",)
    reply_topic: tuple[str, ...] = ("reply_to", "kafka_replyTopic", "Faust-Ag-ReplyTo")
    reply_partition: tuple[str, ...] = ("reply_partition", BINARY_PARTITION)

    def by_name(self) -> dict[str, str]:
        """Return the meaning of each name."""
        meanings = [field.name for field in msgspec.structs.fields(self)]
        return {name: meaning for meaning in meanings for name in getattr(self, meaning)}


def check_header_names(names: HeaderNames, place: str) -> None:
    """Raise InvalidSettings for an empty name, and for one that has two meanings."""
    seen: dict[str, str] = {}
    for field in msgspec.structs.fields(names):
        for name in getattr(names, field.name):
            if not name:
                raise InvalidSettings(f"{place}.{field.name}", "the name of a header must not be empty")
            if name in seen:
                raise InvalidSettings(f"{place}.{field.name}", f"header {name!r} means {seen[name]} already")
            seen[name] = field.name
