"""ReplyLink: what the links of all brokers share: from an answer to its caller, and the end of a connection."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final, Protocol

from pipeline.client.link import Sender
from pipeline.client.reply_table import ReplyTable
from pipeline.client.results import Results
from pipeline.client.wire import Wire
from pipeline.errors import ConnectorError, Undecodable

log = logging.getLogger(__name__)

# How long a connection that nobody holds any more may still deliver what was sent.
_LAST_FLUSH_S: Final = 10.0


class Receiver(Protocol):
    """Hears what comes from the broker, on a thread of its own."""

    def stop(self) -> None:
        """Have the thread end, soon; does not wait, takes no lock, may be called from anywhere."""
        ...

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended."""
        ...


class ReplyLink:
    """See Link. ``open`` makes both halves; the receiver's thread holds all, and calls ``_hear`` and ``_on_stop``.

    ``replies`` is the topic, or the stream, on which answers come.
    """

    sender: Sender
    _receiver: Receiver

    def __init__(self, table: ReplyTable, wire: Wire, replies: str) -> None:
        self._table = table
        self._results = Results(wire)
        self._replies = replies
        self._flush_s = _LAST_FLUSH_S

    def stop(self) -> None:
        """See Link."""
        self._receiver.stop()

    def join(self, timeout_s: float) -> None:
        """See Link."""
        self._receiver.join(timeout_s)

    def close(self, timeout_s: float) -> None:
        """See Link."""
        self._flush_s = 0.0
        self._receiver.stop()
        self._receiver.join(timeout_s)

    def _hear(self, value: bytes, id_: str, place: str, headers: Iterable[tuple[str, bytes | None]]) -> None:
        """Put an answer into the table; see Results.read."""
        id_, outcome = self._results.read(value, id_, place, headers)
        put = self._table.put_claimed if isinstance(outcome, Undecodable) else self._table.put
        put(id_, outcome)

    def _on_stop(self) -> None:
        """Deliver what was sent, unless ``close`` was called, and tell whoever waits that no answer comes any more."""
        if self._flush_s:
            try:
                self.sender.flush(self._flush_s)
            except ConnectorError as error:
                log.error("a connection that was not closed: %s", error)  # noqa: TRY400  # the text says it all
        self._table.fail(ConnectorError(f"topic {self._replies}", "the connection was closed"))
