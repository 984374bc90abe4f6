"""GroupReader: results of any client, shared among the members of a consumer group."""

from __future__ import annotations

import logging
import threading
import time
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline import kafka_properties
from pipeline.client import fork, topic_metadata
from pipeline.client.address import Address
from pipeline.client.reply_table import Outcome
from pipeline.client.sender import id_of
from pipeline.client.trouble import Trouble
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.codec import Codec
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.errors import AccessDenied, ConnectorError, InvalidSettings, Undecodable
from pipeline.kafka_access import Acl
from pipeline.kafka_log import ClientLog

log = logging.getLogger(__name__)

# How many results one read returns at most.
MAX_READ: Final = 500
_POLL_S: Final = 0.1


class GroupReader:
    """Reads a whole result topic as a member of a group, from its start where the group is new.

    At-least-once: what one ``read`` returned is committed by the next ``read``, or by ``close``; a process that dies
    between the two leaves it to be read again. Calls are serialised. A member that does not read for
    ``max.poll.interval.ms`` (five minutes) loses its partitions to the others until it reads again.
    """

    def __init__(self, address: Address, group: str, client_id: str) -> None:
        self._topic = address.result_topic
        self._lock = threading.Lock()  # one read at a time
        self._handed_out: dict[int, int] = {}  # partition: next offset
        self._codecs: tuple[Codec, ...] = (AvroCodec(), V2JsonCodec())
        properties = kafka_properties.group_consumer(dict(address.kafka), client_id, group)
        self._trouble = Trouble(f"kafka at {address.bootstrap}, topic {self._topic}", properties)
        self._group = group
        try:
            self._consumer = Consumer({**properties, "error_cb": self._trouble.note}, logger=ClientLog(log, properties))
            self._consumer.subscribe([self._topic])
        except (KafkaException, TypeError, ValueError) as error:
            raise ConnectorError("kafka settings", str(error)) from error
        fork.watch(self)

    @classmethod
    def opened(cls, address: Address, group: str, client_id: str, timeout_s: float) -> GroupReader:
        """Return a member whose broker answered in time and knows the topic; raises ConnectorError."""
        reader = cls(address, group, client_id)
        try:
            explain = reader._trouble.explains(Acl("topic", address.result_topic, "Read"))
            topic_metadata.count_partitions(reader._consumer, address.result_topic, timeout_s, explain)
        except ConnectorError as error:
            reader._consumer.poll(0)  # has the trouble noted
            refusal = None if isinstance(error, AccessDenied) else reader._trouble.why_not_let_in()
            reader.close()
            raise refusal or error from None
        return reader

    def read(self, timeout_s: float) -> dict[str, Outcome]:
        """Commit what the last call returned, then return what is there, 500 at most; wait ``timeout_s`` for the first.

        Of several results of one id the last is returned. Joining a group needs some calls, or a timeout of seconds.
        """
        with self._lock:
            self._commit()
            deadline_s = time.monotonic() + timeout_s
            while True:
                left_s = deadline_s - time.monotonic()
                first = self._consumer.poll(max(0.0, min(_POLL_S, left_s)))
                if first is not None:
                    outcomes = self._take([first, *self._consumer.consume(MAX_READ - 1, 0)])
                    if outcomes:
                        return outcomes
                if left_s <= 0:
                    return {}

    def close(self, *, is_handled: bool = True) -> None:
        """Leave the group; commit what was returned last where ``is_handled``."""
        with self._lock:
            try:
                if is_handled:
                    self._commit()
            finally:
                self._consumer.close()

    def leave_to_parent(self) -> None:
        """See fork.Owner."""
        fork.keep_for_ever(self._consumer)

    def _take(self, messages: list[Message]) -> dict[str, Outcome]:
        outcomes: dict[str, Outcome] = {}
        for message in messages:
            error = message.error()
            if error is not None:
                self._look_at(error)
                continue
            partition, offset = message.partition(), message.offset()
            if partition is None or offset is None:
                continue
            self._handed_out[partition] = offset + 1
            value = message.value() or b""
            try:
                codec = next((codec for codec in self._codecs if codec.recognises(value)), self._codecs[0])
                result = codec.decode_result(value)
            except Undecodable as problem:
                log.warning("%s, partition %d, offset %d: %s", self._topic, partition, offset, problem)
                outcomes[id_of(message)] = problem
            else:
                outcomes[result.id or id_of(message)] = result
        return outcomes

    def _look_at(self, error: KafkaError) -> None:
        """Log an error that may pass; raises AccessDenied, which does not."""
        is_group = error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
        acl = Acl("group", self._group, "Read") if is_group else Acl("topic", self._topic, "Read")
        refusal = self._trouble.explains(acl)(error)
        if isinstance(refusal, AccessDenied):
            raise refusal
        log.warning("reading %s: %s", self._topic, refusal or error.str())

    def _commit(self) -> None:
        if not self._handed_out:
            return
        offsets = [TopicPartition(self._topic, partition, end) for partition, end in self._handed_out.items()]
        self._handed_out = {}
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:  # a partition that was taken away meanwhile: its new owner reads these again
            log.warning("%s: not committed, may be read again: %s", self._topic, error.args[0].str())


def refuse_group(group: str | None) -> None:
    """Raise InvalidSettings for a look-up by id in a group."""
    if group is not None:
        reason = "a group hands its results out by dequeue and results, not by id"
        raise InvalidSettings(f"OutputQueue(group={group!r})", reason)
