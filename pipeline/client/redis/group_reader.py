"""RedisGroupReader: the results of a route that has them in a stream, shared among the members of a group."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipeline import redis_access, redis_wire
from pipeline.client.address import Address
from pipeline.client.hand_out import Mark, Read
from pipeline.client.outgoing import id_of
from pipeline.client.redis.place import RedisPlace
from pipeline.client.results import Results
from pipeline.client.wire import Wire
from pipeline.errors import SchemaUnavailable
from pipeline.redis_node import Node

log = logging.getLogger(__name__)

# How many results one read returns at most.
MAX_READ: Final = 500
_BLOCK_S: Final = 0.1
_RETRY_S: Final = 0.1
# A member that has not acknowledged what it read for so long is taken to be gone, and others read it.
_CLAIM_AFTER_MS: Final = 60_000
_LOOK_S: Final = 5.0
# With this idle time an entry is anybody's at once.
_LET_GO_MS: Final = 10 * _CLAIM_AFTER_MS


class RedisGroupReader:
    """See GroupReader: from the start of the stream where the group is new.

    The route's ``redis.results`` must be ``stream``: hashes have no order to be read in. What a member that died has
    read is read again after a minute; what was lost with a connection, when there is another. While Redis is away
    ``read`` waits for it, and raises ConnectorError where it is still away after ``timeout_s``.
    """

    def __init__(self, address: Address, place: RedisPlace, group: str, client_id: str) -> None:
        self._stream, self._group, self._client_id, self._place = address.result_topic, group, client_id, place
        self._wire = Wire(address)
        self._results = Results(self._wire)
        self._node: Node | None = None
        self._read: dict[bytes, None] = {}  # what is not acknowledged
        self._done: list[bytes] = []  # what is to be
        self._look_at_s = 0.0
        self._missed_after: bytes | None = None  # what this member has behind this id may have been lost on its way

    @classmethod
    def opened(
        cls, address: Address, place: RedisPlace, group: str, client_id: str, timeout_s: float
    ) -> RedisGroupReader:
        """Return a member whose Redis answered in time; raises ConnectorError."""
        reader = cls(address, place, group, client_id)
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                reader._connected(max(0.05, deadline_s - time.monotonic()))
            except redis_access.errors() as error:
                reader._let_go()
                if not redis_access.is_away(error) or time.monotonic() + _RETRY_S > deadline_s:
                    raise place.failure(error) from error
                time.sleep(_RETRY_S)
            else:
                return reader

    def read(self, timeout_s: float, done: Sequence[Mark] = ()) -> Sequence[Read]:
        """See GroupReader."""
        self._note(done)
        deadline_s = time.monotonic() + timeout_s
        while True:
            left_s = deadline_s - time.monotonic()
            try:
                node = self._connected()
                self._acknowledge(node)
                entries = self._missed(node) or self._abandoned(node)
                results = self._take(entries or self._new(node, max(0.001, min(_BLOCK_S, left_s))))
            except redis_access.errors() as error:
                self._let_go()
                self._missed_after = b"0"
                is_gone = redis_access.is_forgotten(error)  # a connection makes the group anew
                if not is_gone and (not redis_access.is_away(error) or left_s <= _RETRY_S):
                    raise self._place.failure(error) from error
                time.sleep(_RETRY_S)
                continue
            if results or left_s <= 0:
                return results

    def close(self, timeout_s: float, done: Sequence[Mark] = ()) -> None:
        """See GroupReader: it takes as long as the client's own time-outs. What is not done is anybody's at once."""
        del timeout_s
        self._note(done)
        try:
            node = self._connected()
            self._acknowledge(node)
            if self._read:
                left = list(self._read)
                node.client.xclaim(self._stream, self._group, self._client_id, 0, left, idle=_LET_GO_MS, justid=True)
            if not node.client.xpending_range(self._stream, self._group, "-", "+", 1, self._client_id):
                node.ask(self._stream, "XGROUP DELCONSUMER", self._stream, self._group, self._client_id)
        except Exception as error:  # noqa: BLE001  # whatever it is, it is read again
            log.warning("%s: left without acknowledging, may be read again: %s", self._stream, error)
        finally:
            self._wire.close()
            self._let_go()

    def _note(self, done: Sequence[Mark]) -> None:
        for mark in done:
            if isinstance(mark, bytes):
                self._read.pop(mark, None)
                self._done.append(mark)

    def _connected(self, timeout_s: float | None = None) -> Node:
        if self._node is None:
            node = self._node = self._place.connect(self._client_id, _BLOCK_S, timeout_s)
            try:
                node.ask(self._stream, "XGROUP CREATE", self._stream, self._group, "0", "MKSTREAM")
            except redis_access.package().ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise
        return self._node

    def _acknowledge(self, node: Node) -> None:
        if self._done:
            node.ask(self._stream, "XACK", self._stream, self._group, *self._done)
            self._done = []

    def _missed(self, node: Node) -> Sequence[Any]:
        """Return what this member has, and never saw: the connection broke on its way."""
        if self._missed_after is None:
            return ()
        entries = self._ask(node, self._missed_after)
        self._missed_after = entries[-1][0] if entries else None
        return [(entry_id, fields or ()) for entry_id, fields in entries]  # without fields: trimmed meanwhile

    def _abandoned(self, node: Node) -> Sequence[Any]:
        """Return what members that are gone have left; looked for now and then."""
        if time.monotonic() < self._look_at_s:
            return ()
        ids = node.client.xautoclaim(
            self._stream, self._group, self._client_id, _CLAIM_AFTER_MS, "0-0", count=MAX_READ, justid=True
        )
        if not ids:
            self._look_at_s = time.monotonic() + _LOOK_S
            return ()
        # In two steps: of an entry that was trimmed meanwhile, 6.2 does not tell the id, by which it is acknowledged.
        claimed = node.client.xclaim(self._stream, self._group, self._client_id, 0, ids)
        found = {entry_id: _words(fields) for entry_id, fields in claimed if entry_id is not None}
        return [(entry_id, found.get(entry_id, ())) for entry_id in ids]

    def _new(self, node: Node, block_s: float) -> Sequence[Any]:
        return self._ask(node, b">", "BLOCK", max(1, int(block_s * 1000)))

    def _ask(self, node: Node, after: bytes, *options: Any) -> Sequence[Any]:
        found = node.ask(
            self._stream, "XREADGROUP GROUP", self._group, self._client_id, "COUNT", MAX_READ, *options,
            "STREAMS", self._stream, after,
        )  # fmt: skip
        entries: Sequence[Any] = found[0][1] if found else ()
        return entries

    def _take(self, entries: Sequence[Any]) -> list[Read]:
        results: list[Read] = []
        unread: SchemaUnavailable | None = None
        for entry_id, fields in entries:
            value, key, headers, _ = redis_wire.read(fields)
            if value:
                place = f"{self._stream}, entry {entry_id.decode()}"
                id_, outcome = self._results.read(value, id_of(headers, key), place, headers)
                if isinstance(outcome, SchemaUnavailable):
                    unread = outcome  # not acknowledged, so it is read again after a minute
                    continue
                self._read[entry_id] = None
                results.append(Read(id_, outcome, entry_id))
            else:
                self._done.append(entry_id)
        if unread is not None and not results:
            raise unread
        return results

    def _let_go(self) -> None:
        if self._node is not None:
            self._node.close()
            self._node = None


def _words(fields: Mapping[bytes, bytes]) -> Sequence[bytes]:
    """Return names and values in turns."""
    return [word for item in fields.items() for word in item]
