"""RedisLink: a sender of requests, and a receiver of the answers to this client."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from pipeline import redis_wire
from pipeline.client.address import Address
from pipeline.client.outgoing import CLIENT_ID_HEADER, id_of
from pipeline.client.redis.place import RedisPlace
from pipeline.client.redis.receiver import Entry, Receiver
from pipeline.client.redis.sender import RedisSender
from pipeline.client.redis.store import Store
from pipeline.client.redis.trouble import RedisTrouble
from pipeline.client.reply_table import Outcome, ReplyTable
from pipeline.client.results import Results
from pipeline.client.wire import Wire
from pipeline.errors import ConnectorError, Undecodable

log = logging.getLogger(__name__)

REPLY_HEADER: Final = "reply_to"
# How long a connection that nobody holds any more may still deliver what was sent.
_LAST_FLUSH_S: Final = 10.0


class RedisLink:
    """See Link. The receiver's thread holds all of it. Nothing has to be there before: streams come with use."""

    def __init__(self, address: Address, place: RedisPlace, table: ReplyTable, wire: Wire) -> None:
        self._requests, self._client_id = address.request_topic, address.client_id
        self._place, self._table = place, table
        self._stream = redis_wire.reply_stream(address.result_topic, address.client_id)
        self._results = Results(wire)
        self._flush_s = _LAST_FLUSH_S
        self._store = Store(place, address.result_topic, address.client_id)
        self.trouble = RedisTrouble(place)
        self.sender: RedisSender
        self._receiver: Receiver

    def open(self, timeout_s: float) -> Sequence[tuple[str, bytes]]:
        """See Link."""
        place, client_id = self._place, self._client_id
        self.sender = RedisSender(place, self._requests, client_id, self.trouble, self._table.put_claimed)
        self._receiver = Receiver(place, self._stream, client_id, self.trouble, self._on_entries, self._on_stop)
        self._receiver.open(timeout_s)
        self.sender.start()
        return ((REPLY_HEADER, self._stream.encode()), (CLIENT_ID_HEADER, client_id.encode()))

    def check(self, timeout_s: float) -> None:
        """See Link: whoever could make the stream of the answers is let in."""

    @property
    def has_store(self) -> bool:
        """See Link: hashes, of requests that asked for no answer here."""
        return True

    def stored(self, id_: str, *, is_kept: bool) -> Outcome | None:
        """See Link."""
        fields = self._store.take(id_, is_kept=is_kept)
        value, _, headers, _ = redis_wire.read(fields)
        return self._results.read(value, id_, f"the result of {id_}", headers)[1] if value else None

    def stop(self) -> None:
        """See Link."""
        self._receiver.stop()

    def close(self, timeout_s: float) -> None:
        """See Link."""
        self._flush_s = 0.0
        self._receiver.stop()
        self._receiver.join(timeout_s)
        self.sender.join(timeout_s)
        self._store.close()

    def _on_entries(self, entries: list[Entry]) -> None:
        for entry_id, fields in entries:
            value, key, headers, _ = redis_wire.read(fields)
            if not value:
                continue  # what the receiver made the stream with
            place = f"{self._stream}, entry {entry_id.decode()}"
            id_, outcome = self._results.read(value, id_of(headers, key), place, headers)
            put = self._table.put_claimed if isinstance(outcome, Undecodable) else self._table.put
            put(id_, outcome)

    def _on_stop(self) -> None:
        if self._flush_s:
            try:
                self.sender.flush(self._flush_s)
            except ConnectorError as error:
                log.error("a connection that was not closed: %s", error)  # noqa: TRY400  # the text says it all
        self.sender.stop()
        self._table.fail(ConnectorError(f"topic {self._stream}", "the connection was closed"))
