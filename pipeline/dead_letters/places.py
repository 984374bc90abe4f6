"""Where a dead letter lies: at an offset of a partition of a topic, or as an entry of a stream. Pure."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

_OFFSET: Final = re.compile(r"(\d{1,9}):(\d{1,18})")
_ID: Final = re.compile(r"(\d{1,20})-(\d{1,20})")


class Offset(msgspec.Struct, frozen=True, order=True):
    """A place in a topic of Kafka; as text ``<partition>:<offset>``. Letters of one ``lane`` are in order."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}:{self.offset}"

    @property
    def option(self) -> str:
        """The option of ``penstock dead-letters replay`` that takes it as a start."""
        return "--from-offset"

    @property
    def lane(self) -> int:
        """Its partition."""
        return self.partition

    @property
    def next(self) -> Offset:
        """The place behind it."""
        return Offset(self.partition, self.offset + 1)

    @property
    def facts(self) -> dict[str, Any]:
        """What a program wants to know of it."""
        return {"partition": self.partition, "offset": self.offset}


class EntryId(msgspec.Struct, frozen=True, order=True):
    """An entry of a stream of Redis; as text ``<time in ms>-<number>``, as Redis writes it. There is one ``lane``."""

    time_ms: int
    number: int

    def __str__(self) -> str:
        return f"{self.time_ms}-{self.number}"

    @property
    def option(self) -> str:
        """See Offset."""
        return "--from-id"

    @property
    def lane(self) -> int:
        """The only one."""
        return 0

    @property
    def next(self) -> EntryId:
        """The least id behind it."""
        return EntryId(self.time_ms, self.number + 1)

    @property
    def previous(self) -> EntryId:
        """The greatest id before it; of the least one itself."""
        if self.number:
            return EntryId(self.time_ms, self.number - 1)
        return EntryId(self.time_ms - 1, _MOST) if self.time_ms else self

    @property
    def facts(self) -> dict[str, Any]:
        """What a program wants to know of it."""
        return {"id": str(self)}


Place = Offset | EntryId

_MOST: Final = 2**64 - 1


def offset_of(text: str) -> Offset | None:
    """Return the offset that a text is, or None."""
    found = _OFFSET.fullmatch(text)
    return None if found is None else Offset(int(found[1]), int(found[2]))


def id_of(text: str) -> EntryId | None:
    """Return the id that a text is, or None."""
    found = _ID.fullmatch(text)
    if found is None or max(int(found[1]), int(found[2])) > _MOST:
        return None
    return EntryId(int(found[1]), int(found[2]))
