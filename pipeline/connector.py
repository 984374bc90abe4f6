"""The contract of a connector: how requests come in and results go out, whatever the broker.

One connector serves one route. ``poll`` and ``answer`` may run at the same time, each on one thread at a time:
``poll`` on the route's feeder thread, or on another while that computes; ``answer`` on the thread that has computed, in
the order in which the batches were polled.
``pipeline.testing.connector_contract`` is the suite that every connector passes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final, Protocol

import msgspec

from pipeline.errors import PenstockError
from pipeline.records import Error
from pipeline.settings import Checked, RouteSettings, checked

Headers = Sequence[tuple[str, bytes | None]]

NO_LIMIT: Final = sys.maxsize
# How many bytes of the request's headers, and of its key, a record repeats that was too large with all of them.
_SMALL_BYTES: Final = 8192


def small_headers(headers: Headers) -> list[tuple[str, bytes | None]]:
    """Return headers, in order, without those that would make them more than 8 KiB together."""
    kept, size_bytes = [], 0
    for name, value in headers:
        more = len(name) + len(value or b"")
        if size_bytes + more <= _SMALL_BYTES:
            kept.append((name, value))
            size_bytes += more
    return kept


def small_key(key: bytes | None) -> bytes | None:
    """Return a key, or None where it has more than 8 KiB."""
    return key if key is None or len(key) <= _SMALL_BYTES else None


class Record(msgspec.Struct, frozen=True, gc=False):
    """One request as its broker delivered it, byte for byte.

    A connector may subclass it to keep what it needs to acknowledge the record. ``timestamp_ms`` is 0 or less where the
    broker knows none. ``fault`` is why a part of it could not be had from the broker's client: the record is then
    refused as undecodable, with that reason. ``kills`` is how many workers in a row were killed while they had it; 0
    where a connector can not tell that it was this one.
    """

    value: bytes
    key: bytes | None
    headers: Headers
    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    fault: str = ""
    kills: int = 0


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What goes out for one record.

    ``topic`` and ``partition`` are the reply address, already checked against the allow-list; None is the route's
    result topic, and the record's own key decides the partition. ``dead_letter`` set means that the record itself, byte
    for byte, goes to the dead-letter topic too, with this reason.
    """

    value: bytes
    key: bytes | None
    headers: Headers
    topic: str | None = None
    partition: int | None = None
    dead_letter: Error | None = None

    @property
    def size_bytes(self) -> int:
        """How many bytes the record of this answer has: value, key and headers."""
        headers = sum(len(name) + len(value or b"") for name, value in self.headers)
        return len(self.value) + len(self.key or b"") + headers


# Makes the answer to a record whose first answer the broker refuses for good (too large, no such partition).
Refuse = Callable[[Record, PenstockError], Answer]


class Connector(Protocol):
    """What every broker must promise."""

    def open(self) -> None:
        """Connect and subscribe; raises ConnectorError. A broker that is away for the moment is no error here."""
        ...

    def poll(self, max_records: int, timeout_s: float, max_bytes: int = NO_LIMIT) -> Sequence[Record]:
        """Return what is waiting, at most ``max_records``, in order per partition; wait for the first one only.

        Their values have at most ``max_bytes`` together; the first record comes whatever its size. Returns empty after
        ``timeout_s``, or sooner, where the broker has told something else meanwhile. ``max_records`` of 0 takes nothing
        and keeps the membership alive: the route is full, or stopped. Raises ConnectorError for what does not heal by
        itself. A record that was returned is either answered or will be delivered again, to this worker or another.
        """
        ...

    def answer(self, records: Sequence[Record], answers: Sequence[Answer], refuse: Refuse) -> Future[None]:
        """Publish the answers and acknowledge the records as one step, as atomically as the broker can.

        ``records`` is what one ``poll`` returned, and ``answers[i]`` belongs to ``records[i]``. Returns before the
        broker has accepted them; the future completes when it has and the records are acknowledged, or are sure to be
        acknowledged before a clean ``close`` returns. A record is never acknowledged before its answer, and its dead
        letter, are accepted. Where the broker can tell that records have another owner by now, their answers are
        dropped: the future completes, and the other owner answers. The future fails with ConnectorError when the
        broker will not take an answer: the worker must stop, and the records are delivered again.
        """
        ...

    def close(self, timeout_s: float) -> None:
        """Deliver and acknowledge what was answered, leave the group; blocks for ``timeout_s`` at most. Idempotent."""
        ...


def options_of(route: RouteSettings, kind: type[Checked]) -> Checked:
    """Return ``connector_options`` of a route as what its connector understands; raises InvalidSettings. Pure.

    A connector without options asks for ``Section``, so that one that is given is an error and not silence.
    """
    return checked(route.connector_options, kind, f"connector_options of the route that reads {route.request_topic}")
