"""Connection: one link to a broker and one table of replies, shared by the queues of one process."""

from __future__ import annotations

import itertools
import os
import secrets
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Final

from pipeline.client.address import Address
from pipeline.client.link import Link, Sender, link_of
from pipeline.client.outgoing import ID_HEADER, Outgoing
from pipeline.client.reply_table import Outcome, ReplyTable
from pipeline.client.wire import Wire
from pipeline.errors import ConnectorError

# How long the thread of a connection may take to end, whatever time is left.
_END_S: Final = 0.5


class Connection:
    """What the queues of one address share. Thread-safe; nothing is sent before ``open``. ``wire`` writes requests."""

    def __init__(self, address: Address, max_results: int, links: weakref.WeakSet[Link]) -> None:
        """``links`` gets the link when it is open, which outlives this until what was sent is delivered.

        Raises as Wire does.
        """
        self.address = address
        self._links = links
        self.pid = os.getpid()
        self.table = ReplyTable(max_results)
        self.wire = Wire(address)
        self._link = link_of(address, self.table, self.wire)
        self.trouble = self._link.trouble
        self.users = 0  # guarded by pipeline.client.shared
        self._ids = itertools.count()
        self._id_prefix = secrets.token_hex(6)
        self._lock = threading.Lock()  # held while opening
        self._reply_headers: Sequence[tuple[str, bytes]] = ()
        self._is_linked = self._can_send = False

    def is_open(self, *, to_send: bool) -> bool:
        """Whether ``open`` has nothing left to do."""
        return self._can_send or (self._is_linked and not to_send)

    def open(self, timeout_s: float, *, to_send: bool) -> None:
        """Connect, if that was not done yet; ConnectorError when it does not succeed in ``timeout_s``.

        When it returns, every answer to a request sent from now on will be heard.
        """
        if self.is_open(to_send=to_send):
            return
        deadline_s = time.monotonic() + timeout_s
        if not self._lock.acquire(timeout=max(0.0, timeout_s)):
            raise ConnectorError(self.address.place, f"no connection within {timeout_s:g} s{self.trouble}")
        try:
            if not self._is_linked:
                self._reply_headers = self._link.open(timeout_s)
                self._is_linked = True
                self._links.add(self._link)
                # Nobody holds the connection any more: the thread, which holds only the link, delivers and ends.
                weakref.finalize(self, self._link.stop).atexit = False
            if to_send and not self._can_send:
                self._link.check(max(0.0, deadline_s - time.monotonic()))
                self.wire.open(max(0.0, deadline_s - time.monotonic()))
                self._can_send = True
        finally:
            self._lock.release()

    @property
    def sender(self) -> Sender:
        """What sends; only after ``open``."""
        if not self._is_linked:
            raise ConnectorError(self.address.place, "the connection is not open")
        return self._link.sender

    @property
    def has_store(self) -> bool:
        """See Link."""
        return self._link.has_store

    def stored(self, id_: str, *, is_kept: bool) -> Outcome | None:
        """See Link."""
        return self._link.stored(id_, is_kept=is_kept)

    def new_id(self) -> str:
        """Return a request id that no other connection, process or machine makes."""
        return f"{self._id_prefix}-{next(self._ids)}"

    def outgoing(
        self,
        id_: str,
        value: bytes,
        key: str | bytes | None,
        headers: Sequence[tuple[str, str | bytes]],
        *,
        is_answered_here: bool = True,
    ) -> Outgoing:
        """Return a request, with the headers that bring its answer back here where it is to come here."""
        replies = self._reply_headers if is_answered_here else ()
        named: list[tuple[str, str | bytes]] = [*replies, *headers]
        if key is None:
            return Outgoing(id_, value, id_.encode(), named)
        named.append((ID_HEADER, id_))  # the key does not tell it
        return Outgoing(id_, value, key.encode() if isinstance(key, str) else key, named)

    def close(self, timeout_s: float) -> None:
        """Deliver what was sent and end, in ``timeout_s`` and half a second.

        Raises ConnectorError for what could not be delivered.
        """
        deadline_s = time.monotonic() + timeout_s
        try:
            if self._is_linked:
                self._link.sender.flush(timeout_s)
        finally:
            self.wire.close()
            if self._is_linked:
                self._link.close(max(_END_S, deadline_s - time.monotonic()))
