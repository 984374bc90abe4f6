"""Reading a dead-letter topic of Kafka."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final, Self, cast

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from pipeline import kafka_headers, kafka_properties, kafka_refusals
from pipeline.connector import Headers
from pipeline.dead_letters import headers
from pipeline.dead_letters.letters import DeadLetter
from pipeline.dead_letters.places import Offset, Place
from pipeline.errors import ConnectorError, Undecodable
from pipeline.kafka_access import Acl

Kafka = Mapping[str, kafka_properties.Scalar]

_CLIENT: Final = "penstock-dead-letters"
_MAX_RECORDS: Final = 500
_TIMEOUT_S: Final = 20.0


class _Bounds(msgspec.Struct, frozen=True):
    """What is read of each partition: from the first offset up to the end, which does not count."""

    starts: dict[int, int]
    ends: dict[int, int]


class KafkaLetterReader:
    """See LetterReader: raises ConnectorError for a topic that does not exist, too. A lane is a partition."""

    def __init__(self, kafka: Kafka, topic: str, *, starts: Iterable[Offset] = (), group: str = "") -> None:
        reader = kafka_properties.reader(kafka, _CLIENT)
        joined = {"group.id": group} if group else {}
        self._topic, self._has_group = topic, bool(group)
        self._kafka, self._group = kafka, group
        self._starts = {start.partition: start.offset for start in starts}
        self._bounds: _Bounds | None = None
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

    def read(self) -> Iterator[DeadLetter]:
        """See LetterReader."""
        if self._bounds is None:
            self._bounds = self._found()
        bounds = self._bounds
        left = {partition: end for partition, end in bounds.ends.items() if bounds.starts[partition] < end}
        if not left:
            return
        self._consumer.assign([TopicPartition(self._topic, each, bounds.starts[each]) for each in left])
        heard_s = time.monotonic()
        while left:
            messages = self._consumer.consume(_MAX_RECORDS, 0.2)
            if messages:
                heard_s = time.monotonic()
            elif time.monotonic() - heard_s > _TIMEOUT_S:
                raise ConnectorError(f"topic {self._topic}", f"nothing was read for {_TIMEOUT_S:g} s")
            for message in messages:
                letter = self._take(message, left)
                if letter is not None:
                    yield letter
        self._consumer.unassign()

    def commit(self, places: Iterable[Place]) -> None:
        """See LetterReader."""
        offsets = [
            TopicPartition(self._topic, place.partition, place.offset) for place in places if isinstance(place, Offset)
        ]
        if not offsets:
            return
        try:
            self._consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            raise self._failure(error.args[0]) from error

    def _found(self) -> _Bounds:
        try:
            found = self._consumer.list_topics(self._topic, _TIMEOUT_S).topics[self._topic]
            if found.error is not None:
                raise self._failure(found.error)
            places = [TopicPartition(self._topic, partition) for partition in sorted(found.partitions)]
            begin, ends = {}, {}
            for place in places:
                low, high = self._consumer.get_watermark_offsets(place, _TIMEOUT_S)
                begin[place.partition], ends[place.partition] = low, high
            if self._has_group:
                for place in self._consumer.committed(places, _TIMEOUT_S):
                    begin[place.partition] = max(begin[place.partition], place.offset)
        except KafkaException as error:
            raise self._failure(error.args[0]) from error
        for partition, offset in self._starts.items():
            if partition in begin:
                begin[partition] = max(begin[partition], offset)
        return _Bounds(begin, ends)

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
        place, said = Offset(partition, offset), headers.read(found)
        return DeadLetter(place, message.timestamp()[1], message.key(), message.value(), said)

    def _failure(self, error: KafkaError) -> ConnectorError:
        self._consumer.poll(0)  # has ``_on_error`` called
        is_group = error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
        acl = Acl("group", self._group, "Read") if is_group else Acl("topic", self._topic, "Read")
        refusal = kafka_refusals.explain_request(error, self._kafka, acl) or self._refusal
        return refusal or ConnectorError(f"topic {self._topic}", kafka_refusals.text_of(error, self._kafka))

    def _on_error(self, error: KafkaError) -> None:
        self._refusal = kafka_refusals.explain(error, self._kafka) or self._refusal
