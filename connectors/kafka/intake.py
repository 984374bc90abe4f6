"""What a consumer brings, cut into batches of so many records and bytes; what was too much is kept for the next one."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from typing import Final, Protocol

from confluent_kafka import Message

from connectors.kafka.offsets import Partition

# A consumer returns no more by one call.
_MOST_AT_ONCE: Final = 1_000_000


class Source(Protocol):
    """The part of a Kafka consumer that is needed here."""

    def poll(self, timeout: float = ..., /) -> Message | None:
        """Return the next message, None after the timeout."""
        ...

    def consume(self, num_messages: int = ..., timeout: float = ..., /) -> list[Message]:
        """Return so many messages, or what there is after the timeout."""
        ...


class Intake:
    """Takes messages from a consumer. For its polling thread only.

    What is taken and not returned lies in memory: no more than the client's own queue held, because only one message is
    ever waited for; or what ``look_ahead`` was asked for.
    """

    def __init__(self, max_wait_s: float, now_s: Callable[[], float] = time.monotonic) -> None:
        self._max_wait_s = max_wait_s
        self._now_s = now_s
        self._kept: deque[Message] = deque()

    def take(self, source: Source, max_records: int, max_bytes: int, timeout_s: float) -> list[Message]:
        """Return what is there, after ``timeout_s`` nothing; messages with an error are among them.

        At most ``max_records``, whose values together have at most ``max_bytes``, but one whatever its size. A batch
        that is neither is waited for as long as ``max_wait_s`` says, from its first message on.
        """
        if self._kept and (len(self._kept) >= max_records or sum(map(len, self._kept)) >= max_bytes):
            self.serve(source)
        if not self._kept:
            first = source.poll(timeout_s)
            if first is None:
                return []
            self._kept.append(first)
        if len(self._kept) < max_records:
            self._fill(source, max_records, max_bytes, self._max_wait_s)
        return self._cut(max_records, max_bytes)

    def serve(self, source: Source) -> None:
        """Have the consumer take part in its group, and tell of its errors, however long what is kept will last."""
        self._kept.extend(source.consume(1, 0))

    def look_ahead(self, source: Source, max_records: int, max_bytes: int) -> None:
        """Keep what is there: so many records, of about so many bytes, with what is kept already."""
        self._fill(source, max_records, max_bytes, 0.0)

    @property
    def kept(self) -> Collection[Message]:
        """What was taken and not returned, in order."""
        return self._kept

    @property
    def is_empty(self) -> bool:
        """Whether nothing is kept."""
        return not self._kept

    def take_kept(self, max_records: int, max_bytes: int) -> list[Message]:
        """Return what is kept, and ask for no more; within the same limits."""
        return self._cut(max_records, max_bytes) if self._kept else []

    def put_back(self, messages: Sequence[Message]) -> None:
        """Keep messages that were taken last, in front of all others."""
        self._kept.extendleft(reversed(messages))

    def keep(self, message: Message) -> None:
        """Keep a message that came although nothing was to be taken."""
        self._kept.append(message)

    def forget(self, partitions: Collection[Partition]) -> None:
        """Drop what is kept of partitions: another member has them now, or they are read again."""
        left = [message for message in self._kept if (message.topic(), message.partition()) not in partitions]
        self._kept.clear()  # in place: a rebalance comes in the middle of ``take``
        self._kept.extend(left)

    def _fill(self, source: Source, max_records: int, max_bytes: int, max_wait_s: float) -> None:
        kept = self._kept
        size, largest = sum(map(len, kept)), max([1, *map(len, kept)])
        until_s = self._now_s() + max_wait_s if max_wait_s else 0.0
        while len(kept) < max_records and size < max_bytes:
            # As many as fit if they are like those so far, which for small ones is all. ``consume`` waits for as many
            # as it was asked for, so it is asked for what is there.
            count = min(max_records - len(kept), max(1, (max_bytes - size) // largest), _MOST_AT_ONCE)
            found = source.consume(count, 0) or (self._wait(source, until_s) if max_wait_s else [])
            if not found:
                return
            kept.extend(found)
            if len(kept) >= max_records or (len(found) < count and not max_wait_s):
                return
            size, largest = size + sum(map(len, found)), max(largest, *map(len, found))

    def _wait(self, source: Source, until_s: float) -> list[Message]:
        wait_s = until_s - self._now_s()
        message = source.poll(wait_s) if wait_s > 0 else None
        return [] if message is None else [message]

    def _cut(self, max_records: int, max_bytes: int) -> list[Message]:
        kept = self._kept
        if len(kept) <= max_records and sum(map(len, kept)) <= max_bytes:
            messages = list(kept)
            kept.clear()
            return messages
        messages = [kept.popleft()]
        size = len(messages[0])
        while kept and len(messages) < max_records and size + len(kept[0]) <= max_bytes:
            messages.append(kept.popleft())
            size += len(messages[-1])
        return messages
