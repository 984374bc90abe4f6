"""A request as Redis delivered it, with what only Redis knows of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pipeline.connector import Headers, Record

_MOST_PARTITION: Final = 2**31 - 1
_MOST_OFFSET: Final = 2**63 - 1
# Ids before September 2001 are somebody's own numbers, and no times.
_FIRST_TIME_MS: Final = 1_000_000_000_000


class RedisRecord(Record, frozen=True, gc=False):
    """``entry_id`` is the entry's; ``fields`` are names and values in turns, as they came, for a dead letter.

    The id ``<offset>-<partition>`` tells its ``offset`` and its ``partition``.
    """

    entry_id: bytes = b""
    fields: Sequence[bytes] = ()


def record_of(
    topic: str,
    entry_id: bytes,
    fields: Sequence[bytes],
    value: bytes,
    key: bytes | None = None,
    headers: Headers = (),
    fault: str = "",
) -> RedisRecord:
    """Return the record of an entry."""
    first, _, second = entry_id.partition(b"-")
    time_ms = min(int(first), _MOST_OFFSET)
    return RedisRecord(
        value,
        key,
        headers,
        topic,
        min(int(second), _MOST_PARTITION),
        time_ms,
        time_ms if time_ms >= _FIRST_TIME_MS else 0,
        fault,
        0,
        entry_id,
        fields,
    )
