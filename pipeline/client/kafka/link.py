"""KafkaLink: one producer, and one consumer of the partition on which the answers come."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from confluent_kafka import Message

from pipeline import kafka_headers, kafka_properties
from pipeline.client.address import Address
from pipeline.client.kafka.receiver import Receiver
from pipeline.client.kafka.record import id_of
from pipeline.client.kafka.sender import KafkaSender
from pipeline.client.kafka.trouble import KafkaTrouble
from pipeline.client.outgoing import CLIENT_ID_HEADER
from pipeline.client.reply_table import ReplyTable
from pipeline.client.results import Results
from pipeline.client.wire import Wire
from pipeline.errors import ConnectorError, Undecodable

log = logging.getLogger(__name__)

PARTITION_HEADER: Final = "reply_partition"
# How long a connection that nobody holds any more may still deliver what was sent.
_LAST_FLUSH_S: Final = 10.0


class KafkaLink:
    """See Link. The receiver's thread holds all of it."""

    def __init__(self, address: Address, table: ReplyTable, wire: Wire) -> None:
        self._address = address
        self._topic = address.result_topic
        self._client_id = address.client_id.encode()
        self._table = table
        self._results = Results(wire)
        self._flush_s = _LAST_FLUSH_S
        self.trouble = KafkaTrouble(f"{address.place}, topic {address.result_topic}", dict(address.kafka))
        self.sender: KafkaSender
        self._receiver: Receiver

    def open(self, timeout_s: float) -> Sequence[tuple[str, bytes]]:
        """See Link."""
        kafka, client_id = dict(self._address.kafka), self._address.client_id
        # Only failures are reported: nobody looks at the others. No linger: 5 ms of it cost a predict 6 ms (0.9 to 6.5)
        # and won an enqueue nothing, measured on a real Kafka: under load librdkafka batches anyway.
        produces = kafka_properties.producer(kafka, client_id, linger_ms=0, delivery_report_only_error=True)
        sender = KafkaSender(self._address.request_topic, produces, self.trouble, self._table.put_claimed)
        reads = kafka_properties.reader(kafka, client_id)
        receiver = Receiver(self._topic, client_id, reads, self.trouble, self._on_messages, sender.poll, self._on_stop)
        self.sender, self._receiver = sender, receiver
        try:
            receiver.open(timeout_s)
        except BaseException:
            receiver.abort()
            raise
        return ((PARTITION_HEADER, str(receiver.partition).encode()), (CLIENT_ID_HEADER, self._client_id))

    def check(self, timeout_s: float) -> None:
        """See Link: no broker answers in time, or it does not know the request topic."""
        self.sender.check_topic(timeout_s)

    @property
    def has_store(self) -> bool:
        """See Link: a topic has no ids."""
        return False

    def stored(self, id_: str, *, is_kept: bool) -> None:
        """See Link."""

    def stop(self) -> None:
        """See Link."""
        self._receiver.stop()

    def close(self, timeout_s: float) -> None:
        """See Link."""
        self._flush_s = 0.0
        self._receiver.stop()
        self._receiver.join(timeout_s)

    def _on_messages(self, messages: list[Message]) -> None:
        for message in messages:
            try:
                headers = kafka_headers.of(message)
            except Undecodable:
                continue  # a name that no worker writes: it answers nobody here
            if dict(headers).get(CLIENT_ID_HEADER) != self._client_id:
                continue  # another client on the same partition: not even decoded
            place = f"partition {message.partition()} of {self._topic}, offset {message.offset()}"
            id_, outcome = self._results.read(message.value() or b"", id_of(message), place, headers)
            put = self._table.put_claimed if isinstance(outcome, Undecodable) else self._table.put
            put(id_, outcome)

    def _on_stop(self) -> None:
        if self._flush_s:
            try:
                self.sender.flush(self._flush_s)
            except ConnectorError as error:
                log.error("a connection that was not closed: %s", error)  # noqa: TRY400  # the text says it all
        self._table.fail(ConnectorError(f"topic {self._topic}", "the connection was closed"))
