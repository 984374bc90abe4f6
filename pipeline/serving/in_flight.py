"""What a route has taken and not yet delivered, in batches and in bytes, and whether there is room for more."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Final

from pipeline.connector import Answer, Record
from pipeline.errors import SchemaUnavailable
from pipeline.serving.pending import Pending

# A decoded request takes at most so many bytes for each byte of its record: JSON's "0," is 8 bytes of INT64.
_MOST_DECODED: Final = 4


class InFlight:
    """Counts the batches of one route and what they hold. Thread-safe; each batch is entered, admitted and left once.

    At most ``max_batches`` are entered, and as many more as ``widen`` says. A batch is taken with at most
    ``share_bytes`` of records, and goes on when all batches together hold at most ``max_bytes``, or when no other
    holds anything: one that is larger than all of the room passes alone.
    """

    def __init__(self, max_batches: int, max_bytes: int) -> None:
        self.share_bytes: Final = max(1, max_bytes // max_batches)
        self._max_batches, self._max_bytes = max_batches, max_bytes
        self._more = self._batches = self._held_bytes = 0
        self._changed = threading.Condition()

    @property
    def held_bytes(self) -> int:
        """What the batches hold now."""
        return self._held_bytes

    @property
    def is_single(self) -> bool:
        """Whether there is one batch at most: for who has entered it, its own."""
        return self._batches <= 1

    def widen(self, more: int) -> None:
        """Allow so many batches beside ``max_batches``, whose bytes stay the same."""
        if more != self._more:
            with self._changed:
                self._more = more
                self._changed.notify_all()

    def enter(self, timeout_s: float) -> bool:
        """Wait for a place for one more batch, and take it; return whether there was one."""
        with self._changed:
            if not self._changed.wait_for(self._has_room, timeout_s):
                return False
            self._batches += 1
            return True

    def admit(self, size_bytes: int, timeout_s: float) -> bool:
        """Wait until what a batch holds fits, and count it; return whether it does."""
        with self._changed:
            if not self._changed.wait_for(lambda: self._fits(size_bytes), timeout_s):
                return False
            self._held_bytes += size_bytes
            return True

    def change(self, before_bytes: int, now_bytes: int) -> None:
        """A batch that was admitted holds something else now: answers for requests."""
        with self._changed:
            self._held_bytes += now_bytes - before_bytes
            self._changed.notify_all()

    def leave(self, size_bytes: int = 0) -> None:
        """A batch is done, and what it held is given back."""
        with self._changed:
            self._batches -= 1
            self._held_bytes -= size_bytes
            self._changed.notify_all()

    def wait_until_empty(self, timeout_s: float) -> bool:
        """Return whether all batches were done within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._batches, timeout_s)

    def _has_room(self) -> bool:
        return self._batches < self._max_batches + self._more and self._held_bytes < self._max_bytes

    def _fits(self, size_bytes: int) -> bool:
        return not self._held_bytes or self._held_bytes + size_bytes <= self._max_bytes


def of_decoded(batch: Sequence[Pending], record_bytes: int, small_bytes: int) -> int:
    """Return the bytes that the tensors of a batch hold beside its records, which have ``record_bytes``.

    Views of a record's bytes hold nothing. One that waits for its schema, and is decoded late, counts as what its
    tensors can have at most: they are bytes of its record, in Avro. Where records and tensors can not be more than
    ``small_bytes``, whatever the format, nobody counts, and it is 0.
    """
    if record_bytes * (1 + _MOST_DECODED) <= small_bytes:
        return 0
    requests = [pending.request for pending in batch if pending.request is not None]
    tensors = [tensor.data for request in requests for tensor in request.inputs]
    late = [pending.record.value for pending in batch if isinstance(pending.error, SchemaUnavailable)]
    return sum([len(data) for data in tensors if isinstance(data, bytes)]) + sum(map(len, late))


def of_records(records: Sequence[Record]) -> int:
    """Return the bytes of values, keys and headers."""
    size = sum([len(record.value) + len(record.key or b"") for record in records])
    headers = [record.headers for record in records if record.headers]
    return size + sum([len(name) + len(value or b"") for several in headers for name, value in several])


def of_answers(answers: Sequence[Answer]) -> int:
    """Return the bytes of answers that wait for the broker."""
    return sum([len(answer.value) for answer in answers])
