"""KafkaGroupReader: results of any client, shared among the members of a consumer group."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline import kafka_headers, kafka_properties
from pipeline.client import fork, outgoing
from pipeline.client.address import Address
from pipeline.client.hand_out import Mark, Read
from pipeline.client.kafka import topic_metadata
from pipeline.client.kafka.trouble import KafkaTrouble
from pipeline.client.results import Results
from pipeline.client.wire import Wire
from pipeline.errors import AccessDenied, ConnectorError, SchemaUnavailable, Undecodable
from pipeline.kafka_access import Acl
from pipeline.kafka_log import ClientLog

log = logging.getLogger(__name__)

# How many results one read returns at most.
MAX_READ: Final = 500
_POLL_S: Final = 0.1
# How long leaving may take, whatever time is left.
_END_S: Final = 0.5


class KafkaGroupReader:
    """See GroupReader. Reads a whole result topic as a member of a group, from its start where the group is new.

    A member that does not read for
    ``max.poll.interval.ms`` (five minutes) loses its partitions to the others until it reads again.
    """

    def __init__(self, address: Address, group: str, client_id: str) -> None:
        self._topic = address.result_topic
        self._wire = Wire(address)
        self._results = Results(self._wire)
        properties = kafka_properties.group_consumer(dict(address.kafka), client_id, group)
        self._trouble = KafkaTrouble(f"{address.place}, topic {self._topic}", properties)
        self._group = group
        try:
            callbacks = {"error_cb": self._trouble.note, "on_commit": partial(_note_commit, self._topic)}
            self._consumer = Consumer({**properties, **callbacks}, logger=ClientLog(log, properties))
            self._consumer.subscribe([self._topic])
        except (KafkaException, TypeError, ValueError) as error:
            raise ConnectorError("kafka settings", str(error)) from error
        fork.watch(self)

    @classmethod
    def opened(cls, address: Address, group: str, client_id: str, timeout_s: float) -> KafkaGroupReader:
        """Return a member whose broker answered in time and knows the topic; raises ConnectorError."""
        reader = cls(address, group, client_id)
        try:
            explain = reader._trouble.explains(Acl("topic", address.result_topic, "Read"))
            topic_metadata.count_partitions(reader._consumer, address.result_topic, timeout_s, explain)
        except ConnectorError as error:
            reader._consumer.poll(0)  # has the trouble noted
            refusal = None if isinstance(error, AccessDenied) else reader._trouble.why_not_let_in()
            reader.close(_END_S)
            raise refusal or error from None
        return reader

    def read(self, timeout_s: float, done: Sequence[Mark] = ()) -> Sequence[Read]:
        """See GroupReader. Joining a group needs some calls, or a timeout of seconds."""
        self._commit(done, is_awaited=False)
        deadline_s = time.monotonic() + timeout_s
        while True:
            left_s = deadline_s - time.monotonic()
            first = self._consumer.poll(max(0.0, min(_POLL_S, left_s)))
            if first is not None:
                results = self._take([first, *self._consumer.consume(MAX_READ - 1, 0)])
                if results:
                    return results
            if left_s <= 0:
                return ()

    def close(self, timeout_s: float, done: Sequence[Mark] = ()) -> None:
        """See GroupReader."""
        self._wire.close()
        # On a thread: the client waits for a broker that does not answer for as long as that takes.
        leaving = threading.Thread(target=self._leave, args=(done,), name=f"{self._group}-leaving", daemon=True)
        leaving.start()
        leaving.join(max(_END_S, timeout_s))
        if leaving.is_alive():
            log.warning("%s: group %s was not left in time, what is done may be read again", self._topic, self._group)

    def leave_to_parent(self) -> None:
        """See fork.Owner."""
        fork.keep_for_ever(self._consumer)

    def _take(self, messages: list[Message]) -> list[Read]:
        results: list[Read] = []
        for position, message in enumerate(messages):
            error = message.error()
            if error is not None:
                self._look_at(error)
                continue
            partition, offset = message.partition(), message.offset()
            if partition is None or offset is None:
                continue
            place = f"{self._topic}, partition {partition}, offset {offset}"
            headers, key = _headers_of(message), _key_of(message)
            id_, outcome = self._results.read(message.value() or b"", outgoing.id_of(headers, key), place, headers)
            if isinstance(outcome, SchemaUnavailable):
                self._go_back(messages[position:])
                if not results:
                    raise outcome
                return results
            results.append(Read(id_, outcome, (partition, offset + 1)))
        return results

    def _go_back(self, messages: list[Message]) -> None:
        """Have these read again."""
        first: dict[int, int] = {}
        for message in messages:
            partition, offset = message.partition(), message.offset()
            if message.error() is None and partition is not None and offset is not None:
                first.setdefault(partition, offset)
        for partition, offset in first.items():
            try:
                self._consumer.seek(TopicPartition(self._topic, partition, offset))
            except KafkaException as error:  # taken away meanwhile: its new owner reads these
                log.warning("%s, partition %d: %s", self._topic, partition, error.args[0].str())

    def _look_at(self, error: KafkaError) -> None:
        """Log an error that may pass; raises AccessDenied, which does not."""
        is_group = error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
        acl = Acl("group", self._group, "Read") if is_group else Acl("topic", self._topic, "Read")
        refusal = self._trouble.explains(acl)(error)
        if isinstance(refusal, AccessDenied):
            raise refusal
        log.warning("reading %s: %s", self._topic, refusal or error.str())

    def _leave(self, done: Sequence[Mark]) -> None:
        try:
            self._commit(done, is_awaited=True)
        finally:
            self._consumer.close()

    def _commit(self, done: Sequence[Mark], *, is_awaited: bool) -> None:
        if not done:
            return
        # In order, so the last one of a partition counts.
        ends: dict[int, int] = dict(mark for mark in done if isinstance(mark, tuple))
        offsets = [TopicPartition(self._topic, partition, end) for partition, end in ends.items()]
        try:
            if is_awaited:
                self._consumer.commit(offsets=offsets, asynchronous=False)
            else:
                self._consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as error:
            _note_commit(self._topic, error.args[0], offsets)


def _note_commit(topic: str, error: KafkaError | None, _offsets: list[TopicPartition]) -> None:
    if error is not None and error.code() != KafkaError._NO_OFFSET:  # perhaps its new owner reads these again
        log.warning("%s: not committed, may be read again: %s", topic, error.str())


def _headers_of(message: Message) -> Sequence[tuple[str, bytes | None]]:
    try:
        return kafka_headers.of(message)
    except Undecodable:
        return ()  # its bytes may tell all that is needed


def _key_of(message: Message) -> bytes | None:
    key: Any = message.key()
    return key if isinstance(key, bytes) else None
