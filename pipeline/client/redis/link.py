"""RedisLink: a sender of requests, and a receiver of the answers to this client."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from pipeline import redis_wire
from pipeline.client.address import Address
from pipeline.client.outgoing import CLIENT_ID_HEADER, id_of
from pipeline.client.redis.place import RedisPlace
from pipeline.client.redis.receiver import Receiver
from pipeline.client.redis.sender import RedisSender
from pipeline.client.redis.store import Store
from pipeline.client.redis.trouble import RedisTrouble
from pipeline.client.reply_link import ReplyLink
from pipeline.client.reply_table import Outcome, ReplyTable
from pipeline.client.wire import Wire
from pipeline.records import PredictResult

REPLY_HEADER: Final = "reply_to"


class RedisLink(ReplyLink):
    """See Link. Nothing has to be there before: streams come with use."""

    def __init__(self, address: Address, place: RedisPlace, table: ReplyTable, wire: Wire) -> None:
        super().__init__(table, wire, redis_wire.reply_stream(address.result_topic, address.client_id))
        self._requests, self._client_id, self._place = address.request_topic, address.client_id, place
        self._store = Store(place, address.result_topic, address.client_id)
        self.trouble = RedisTrouble(place)
        self.sender: RedisSender
        self._receiver: Receiver

    def open(self, timeout_s: float) -> Sequence[tuple[str, bytes]]:
        """See Link."""
        place, client_id = self._place, self._client_id
        self.sender = RedisSender(place, self._requests, client_id, self.trouble, self._table.put_claimed)
        self._receiver = Receiver(place, self._replies, client_id, self.trouble, self._on_entry, self._on_stop)
        self._receiver.open(timeout_s)
        self.sender.start()
        return ((REPLY_HEADER, self._replies.encode()), (CLIENT_ID_HEADER, client_id.encode()))

    def check(self, timeout_s: float) -> None:
        """See Link: whoever could make the stream of the answers is let in."""

    @property
    def has_store(self) -> bool:
        """See Link: hashes, of requests that asked for no answer here."""
        return True

    def stored(self, id_: str, *, is_kept: bool) -> Outcome | None:
        """See Link."""
        value, _, headers, _ = redis_wire.read(self._store.get(id_))
        if not value:
            return None
        _, outcome = self._results.read(value, id_, f"the result of {id_}", headers)
        if not is_kept and isinstance(outcome, PredictResult):
            self._store.delete(id_)
        return outcome

    def close(self, timeout_s: float) -> None:
        """See Link."""
        deadline_s = time.monotonic() + timeout_s
        super().close(timeout_s)
        self.sender.join(max(0.0, deadline_s - time.monotonic()))
        self._store.close()

    def _on_entry(self, entry_id: bytes, fields: Sequence[bytes]) -> None:
        value, key, headers, _ = redis_wire.read(fields)
        if value:  # else it is what the receiver made the stream with
            self._hear(value, id_of(headers, key), f"{self._replies}, entry {entry_id.decode()}", headers)

    def _on_stop(self) -> None:
        super()._on_stop()
        self.sender.stop()
