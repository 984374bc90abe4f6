"""KafkaLink: one producer, and one consumer of the partition on which the answers come."""

from __future__ import annotations

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
from pipeline.client.reply_link import ReplyLink
from pipeline.client.reply_table import ReplyTable
from pipeline.client.wire import Wire
from pipeline.errors import Undecodable

PARTITION_HEADER: Final = "reply_partition"


class KafkaLink(ReplyLink):
    """See Link."""

    def __init__(self, address: Address, table: ReplyTable, wire: Wire) -> None:
        super().__init__(table, wire, address.result_topic)
        self._address = address
        self._client_id = address.client_id.encode()
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
        receiver = Receiver(
            self._replies, client_id, reads, self.trouble, self._on_messages, sender.poll, self._on_stop
        )
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

    def _on_messages(self, messages: list[Message]) -> None:
        for message in messages:
            try:
                headers = kafka_headers.of(message)
            except Undecodable:
                continue  # a name that no worker writes: it answers nobody here
            if dict(headers).get(CLIENT_ID_HEADER) != self._client_id:
                continue  # another client on the same partition: not even decoded
            place = f"partition {message.partition()} of {self._replies}, offset {message.offset()}"
            self._hear(message.value() or b"", id_of(message), place, headers)
