"""Connection: one producer, one consumer and one table of replies, shared by the queues of one process."""

from __future__ import annotations

import itertools
import logging
import os
import secrets
import threading
import time
import weakref
from collections.abc import Sequence
from typing import Final

from confluent_kafka import Message

from pipeline import kafka_headers, kafka_properties
from pipeline.client.address import Address
from pipeline.client.receiver import Receiver
from pipeline.client.reply_table import ReplyTable
from pipeline.client.sender import ID_HEADER, Outgoing, Sender, id_of
from pipeline.client.trouble import Trouble
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.codec import Codec
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.errors import ConnectorError, Undecodable

log = logging.getLogger(__name__)

CLIENT_ID_HEADER: Final = "client-id"
PARTITION_HEADER: Final = "reply_partition"
# How long a connection that nobody holds any more may still deliver what was sent.
_LAST_FLUSH_S: Final = 10.0


class Connection:
    """What the queues of one address share. Thread-safe; nothing is sent before ``open``.

    Requests and results may be Avro or V2 JSON; results are recognised by their first bytes.
    """

    def __init__(self, address: Address, max_results: int) -> None:
        self.address = address
        self.pid = os.getpid()
        self.table = ReplyTable(max_results)
        self.trouble = Trouble(f"kafka at {address.bootstrap}, topic {address.result_topic}", dict(address.kafka))
        self.users = 0  # guarded by pipeline.client.shared
        self._ids = itertools.count()
        self._id_prefix = secrets.token_hex(6)
        self._lock = threading.Lock()  # held while opening
        self._reply_headers: tuple[tuple[str, bytes], ...] = ()
        self._can_send = False
        self._link: _Link | None = None

    def is_open(self, *, to_send: bool) -> bool:
        """Whether ``open`` has nothing left to do."""
        return self._can_send or (self._link is not None and not to_send)

    def open(self, timeout_s: float, *, to_send: bool) -> None:
        """Connect, if that was not done yet; ConnectorError when it does not succeed in ``timeout_s``.

        When it returns, every answer to a request sent from now on will be heard.
        """
        if self.is_open(to_send=to_send):
            return
        deadline_s = time.monotonic() + timeout_s
        if not self._lock.acquire(timeout=max(0.0, timeout_s)):
            raise ConnectorError(
                f"kafka at {self.address.bootstrap}", f"no connection within {timeout_s:g} s{self.trouble}"
            )
        try:
            if self._link is None:
                link = _Link(self.address, self.table, self.trouble)
                try:
                    link.receiver.open(timeout_s)
                except BaseException:
                    link.receiver.abort()
                    raise
                self._reply_headers = (
                    (PARTITION_HEADER, str(link.receiver.partition).encode()),
                    (CLIENT_ID_HEADER, self.address.client_id.encode()),
                )
                self._link = link
                # Nobody holds the connection any more: the thread, which holds only the link, delivers and ends.
                weakref.finalize(self, link.receiver.stop).atexit = False
            if to_send and not self._can_send:
                self._link.sender.check_topic(max(0.0, deadline_s - time.monotonic()))
                self._can_send = True
        finally:
            self._lock.release()

    @property
    def sender(self) -> Sender:
        """The producer; only after ``open``."""
        if self._link is None:
            raise ConnectorError(f"kafka at {self.address.bootstrap}", "the connection is not open")
        return self._link.sender

    def new_id(self) -> str:
        """Return a request id that no other connection, process or machine makes."""
        return f"{self._id_prefix}-{next(self._ids)}"

    def outgoing(
        self,
        id_: str,
        value: bytes,
        content_type: str,
        key: str | bytes | None,
        headers: Sequence[tuple[str, str | bytes]],
    ) -> Outgoing:
        """Return a request with the headers that bring its answer back here."""
        named: list[tuple[str, str | bytes]] = [*self._reply_headers, ("content-type", content_type), *headers]
        if key is None:
            return Outgoing(id_, value, id_.encode(), named)
        named.append((ID_HEADER, id_))  # the key does not tell it
        return Outgoing(id_, value, key.encode() if isinstance(key, str) else key, named)

    def close(self, timeout_s: float) -> None:
        """Deliver what was sent and end; ConnectorError for what could not be delivered in ``timeout_s``."""
        link = self._link
        if link is None:
            return
        try:
            link.sender.flush(timeout_s)
        finally:
            link.flush_s = 0.0
            link.receiver.stop()
            link.receiver.join(timeout_s)


class _Link:
    """What the receiver's thread holds: everything but the Connection, so that this one can be forgotten."""

    def __init__(self, address: Address, table: ReplyTable, trouble: Trouble) -> None:
        self._topic = address.result_topic
        self._client_id = address.client_id.encode()
        self._table = table
        self._codecs: tuple[Codec, ...] = (AvroCodec(), V2JsonCodec())
        self.flush_s = _LAST_FLUSH_S
        kafka, client_id = dict(address.kafka), address.client_id
        # Only failures are reported: nobody looks at the others. No linger: 5 ms of it cost a predict 6 ms (0.9 to 6.5)
        # and won an enqueue nothing, measured on a real Kafka: under load librdkafka batches anyway.
        produces = kafka_properties.producer(kafka, client_id, linger_ms=0, delivery_report_only_error=True)
        self.sender = Sender(address.request_topic, produces, trouble, self._on_failed)
        self.receiver = Receiver(
            self._topic,
            client_id,
            kafka_properties.reader(kafka, client_id),
            trouble,
            self._on_messages,
            self.sender.poll,
            self._on_stop,
        )

    def _on_failed(self, id_: str, error: ConnectorError) -> bool:
        is_claimed = self._table.is_claimed(id_)
        if is_claimed:
            self._table.put(id_, error)
        return is_claimed

    def _on_messages(self, messages: list[Message]) -> None:
        for message in messages:
            try:
                headers = dict(kafka_headers.of(message))
            except Undecodable:
                continue  # a name that no worker writes: it answers nobody here
            if headers.get(CLIENT_ID_HEADER) != self._client_id:
                continue  # another client on the same partition: not even decoded
            try:
                value = message.value() or b""
                codec = next((codec for codec in self._codecs if codec.recognises(value)), self._codecs[0])
                result = codec.decode_result(value)
            except Undecodable as error:
                where = message.partition(), self._topic, message.offset()
                log.warning("partition %d of %s, offset %d: %s", *where, error)
                if self._table.is_claimed(id_of(message)):
                    self._table.put(id_of(message), error)
            else:
                # A request that could not be decoded is answered without its id.
                self._table.put(result.id or id_of(message), result)

    def _on_stop(self) -> None:
        if self.flush_s:
            try:
                self.sender.flush(self.flush_s)
            except ConnectorError as error:
                log.error("a connection that was not closed: %s", error)  # noqa: TRY400  # the text says it all
        self._table.fail(ConnectorError(f"topic {self._topic}", "the connection was closed"))
