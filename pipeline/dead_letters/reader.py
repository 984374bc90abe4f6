"""Reading a dead-letter topic from one place to the end that it has when the reading begins."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Final, Self, cast

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline import kafka_headers, kafka_properties, kafka_refusals
from pipeline.connector import Headers
from pipeline.dead_letters import headers
from pipeline.dead_letters.letters import DeadLetter
from pipeline.errors import ConnectorError, Undecodable
from pipeline.kafka_access import Acl

Kafka = Mapping[str, kafka_properties.Scalar]

_CLIENT: Final = "penstock-dead-letters"
_MAX_RECORDS: Final = 500


class Bounds(msgspec.Struct, frozen=True):
    """What is read of each partition: from the first offset up to the end, which does not count."""

    starts: dict[int, int]
    ends: dict[int, int]


class LetterReader:
    """Reads one dead-letter topic, any number of times. Blocks; for one thread. Use it in a ``with`` block.

    With a ``group`` it begins where that group has committed, and ``commit`` moves it; without, nothing is remembered.
    Raises ConnectorError for a broker that does not answer in ``timeout_s``, and for a topic that does not exist.
    """

    def __init__(self, kafka: Kafka, topic: str, *, group: str = "", timeout_s: float = 20.0) -> None:
        reader = kafka_properties.reader(kafka, _CLIENT)
        joined = {"group.id": group} if group else {}
        self._topic, self._has_group, self._timeout_s = topic, bool(group), timeout_s
        self._kafka, self._group = kafka, group
        self._refusal: ConnectorError | None = None  # why the broker did not let us in
        properties = {"log_level": 2, **reader, **joined, "enable.partition.eof": True}
        try:
            self._consumer = Consumer({**properties, "error_cb": self._on_error})
        except KafkaException as error:
            raise ConnectorError("kafka settings", str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def bounds(self, starts: Mapping[int, int] | None = None) -> Bounds:
        """Return what there is to read now, from its beginning, from ``starts``, or from where the group is."""
        try:
            found = self._consumer.list_topics(self._topic, self._timeout_s).topics[self._topic]
            if found.error is not None:
                raise self._failure(found.error)
            places = [TopicPartition(self._topic, partition) for partition in sorted(found.partitions)]
            begin, ends = {}, {}
            for place in places:
                low, high = self._consumer.get_watermark_offsets(place, self._timeout_s)
                begin[place.partition], ends[place.partition] = low, high
            if self._has_group:
                for place in self._consumer.committed(places, self._timeout_s):
                    begin[place.partition] = max(begin[place.partition], place.offset)
        except KafkaException as error:
            raise self._failure(error.args[0]) from error
        for partition, offset in (starts or {}).items():
            if partition in begin:
                begin[partition] = max(begin[partition], offset)
        return Bounds(begin, ends)

    def read(self, bounds: Bounds) -> Iterator[DeadLetter]:
        """Yield the letters within the bounds, in order per partition."""
        left = {partition: end for partition, end in bounds.ends.items() if bounds.starts[partition] < end}
        if not left:
            return
        self._consumer.assign([TopicPartition(self._topic, each, bounds.starts[each]) for each in left])
        heard_s = time.monotonic()
        while left:
            messages = self._consumer.consume(_MAX_RECORDS, 0.2)
            if messages:
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > self._timeout_s:
                raise ConnectorError(f"topic {self._topic}", f"nothing was read for {self._timeout_s:g} s")
            for message in messages:
                letter = self._take(message, left)
                if letter is not None:
                    yield letter
        self._consumer.unassign()

    def commit(self, partition: int, offset: int) -> None:
        """Have the group continue at an offset; returns when the broker has it."""
        try:
            self._consumer.commit(offsets=[TopicPartition(self._topic, partition, offset)], asynchronous=False)
        except KafkaException as error:
            raise self._failure(error.args[0]) from error

    def _take(self, message: Message, left: dict[int, int]) -> DeadLetter | None:
        error = message.error()
        partition, offset = cast(tuple[int, int], (message.partition(), message.offset()))
        if error is not None and error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED and not self._has_group:
            return None  # for a coordinator that nobody here needs
        if error is not None and error.code() != KafkaError._PARTITION_EOF:  # librdkafka's own code
            raise self._failure(error)
        end = left.get(partition)
        if end is None:
            return None
        if error is not None or offset + 1 >= end:  # compaction and transactions leave gaps before an end
            del left[partition]
        if error is not None or offset >= end:
            return None
        found: Headers = ()
        with suppress(Undecodable):  # of a letter that somebody else has written
            found = kafka_headers.of(message)
        return DeadLetter(
            partition, offset, message.timestamp()[1], message.key(), message.value(), found, headers.read(found)
        )

    def _failure(self, error: KafkaError) -> ConnectorError:
        self._consumer.poll(0)  # has ``_on_error`` called
        is_group = error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
        acl = Acl("group", self._group, "Read") if is_group else Acl("topic", self._topic, "Read")
        refusal = kafka_refusals.explain_request(error, self._kafka, acl) or self._refusal
        return refusal or ConnectorError(f"topic {self._topic}", kafka_refusals.text_of(error, self._kafka))

    def _on_error(self, error: KafkaError) -> None:
        self._refusal = kafka_refusals.explain(error, self._kafka) or self._refusal
