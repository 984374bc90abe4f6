"""The aspired-versions topic: publish the full set of a stream, and follow what is published."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from pipeline.clock import Clock, SystemClock
from pipeline.control import encoding
from pipeline.errors import Undecodable
from pipeline.records import AspiredVersions

if TYPE_CHECKING:
    import threading

    from pipeline.control.logs import Logs, OnFatal

log = logging.getLogger(__name__)

# The aspiration, or the stream that is forgotten, and its generation.
OnAspired = Callable[[AspiredVersions, int], None]
OnForgotten = Callable[[str, int], None]


class AspiredPublisher:
    """Publishes aspirations, one at a time and in order; usable from any thread.

    ``client_id`` is the publisher that the records name, unless they name one. Connects on first use.
    """

    def __init__(self, logs: Logs, topic: str, client_id: str, clock: Clock | None = None) -> None:
        self._writer = logs.writer(topic, client_id)
        self._client_id, self._clock = client_id, clock or SystemClock()

    def publish(self, aspired: AspiredVersions, timeout_s: float = 10.0) -> int:
        """Replace the aspired set of one stream; returns its generation once the broker has accepted it.

        Blocks for ``timeout_s`` at most. Raises ConnectorError when the broker is not known to have accepted it; it
        is then not sent again, so it can not come after a later one.
        """
        stamped = msgspec.structs.replace(
            aspired,
            publisher=aspired.publisher or self._client_id,
            published_at_ms=aspired.published_at_ms or self._clock.unix_ms(),
        )
        key, value = encoding.encode_aspired(stamped)
        return self._writer.write(key, value, timeout_s)

    def forget(self, stream: str, timeout_s: float = 10.0) -> int:
        """Make every worker unload the stream and drop its name; otherwise as ``publish``."""
        return self._writer.write(stream.encode(), encoding.TOMBSTONE, timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Let go of the connection. Nothing is lost: what ``publish`` returned for has been accepted."""
        self._writer.close(timeout_s)


class AspiredFollower:
    """Calls back for the last aspiration of every stream in the topic, and then for each new one, on its own thread.

    Callbacks must be idempotent; ``generation`` is the record's offset, the same on every worker. A record that can not
    be decoded is logged with its place and changes nothing. ``on_fatal`` as in LogReader; it is also called with
    what a callback raises.
    """

    def __init__(
        self,
        logs: Logs,
        topic: str,
        client_id: str,
        *,
        on_aspired: OnAspired,
        on_forgotten: OnForgotten,
        on_fatal: OnFatal,
    ) -> None:
        self._topic, self._on_aspired, self._on_forgotten = topic, on_aspired, on_forgotten
        # The last record per stream, until the end of the topic is reached: what it superseded was never wished of us.
        self._replayed: dict[bytes | None, Callable[[], None]] = {}
        self._reader = logs.reader(
            topic, client_id, on_record=self._on_record, on_fatal=on_fatal, on_caught_up=self._on_caught_up
        )

    @property
    def caught_up(self) -> threading.Event:
        """Set when everything that the topic held at the start has been called back for."""
        return self._reader.caught_up

    @property
    def problem(self) -> str | None:
        """Why the topic can not be read at this moment, and the next step; None while all is well. Any thread."""
        return self._reader.problem

    def start(self) -> None:
        """Follow until ``stop``; called once. The broker may be away."""
        self._reader.start()

    def step(self, timeout_s: float = 0.2) -> None:
        """Take what has come, on the caller's thread; instead of ``start``, and as in LogReader."""
        self._reader.step(timeout_s)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop and wait, ``timeout_s`` at most. Idempotent."""
        self._reader.stop(timeout_s)

    def _on_record(self, key: bytes | None, value: bytes | None, partition: int, offset: int) -> None:
        try:
            if value is None:
                tell = partial(self._on_forgotten, encoding.decode_key(key), offset)
            else:
                tell = partial(self._on_aspired, encoding.decode_aspired(key, value), offset)
        except Undecodable as error:
            place = f"{self._topic}[{partition}]@{offset}"
            log.error("%s: an aspiration is skipped, nothing changes: %s", place, error)  # noqa: TRY400  # the reason is enough
            return
        if self.caught_up.is_set():
            tell()
        else:
            self._replayed[key] = tell

    def _on_caught_up(self) -> None:
        replayed, self._replayed = self._replayed, {}
        for tell in replayed.values():
            tell()
