"""Reading a compacted topic: all of it from the beginning, without a consumer group, and then whatever comes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from pipeline import kafka_properties, kafka_refusals
from pipeline.control.availability import Availability
from pipeline.control.error_codes import FATAL, NO_GROUP, ONE_BROKER, PARTITION_EOF
from pipeline.control.reader_thread import ReaderThread
from pipeline.errors import ConnectorError
from pipeline.kafka_access import Acl, denied

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message

    from pipeline.control.logs import OnFatal, OnRecord

log = logging.getLogger(__name__)

MakeConsumer = Callable[[dict[str, Any]], Any]

_RETRY_S: Final = 0.5
_REDISCOVER_S: Final = 30.0
_METADATA_TIMEOUT_S: Final = 2.0
_MAX_RECORDS: Final = 500
# Below what the user sets. librdkafka logs once per attempt, we do once per outage; a broker that is back is found
# within a second.
_DEFAULTS: Final[kafka_properties.Properties] = {"log_level": 2, "reconnect.backoff.max.ms": 1000}


class KafkaLogReader:
    """See LogReader: of a topic, in order per partition.

    A record is seen again after the topic was made anew, or its log was lost. A topic that does not exist yet is waited
    for like a broker that is away.
    """

    def __init__(
        self,
        kafka: Mapping[str, kafka_properties.Scalar],
        topic: str,
        client_id: str,
        *,
        on_record: OnRecord,
        on_fatal: OnFatal,
        on_caught_up: Callable[[], None] = lambda: None,
        make_consumer: MakeConsumer = Consumer,
        log_level: int = logging.WARNING,
    ) -> None:
        """Nothing is connected yet; ``kafka`` is the section of the settings, ``log_level`` that of outages."""
        self.caught_up = threading.Event()
        """Set when the end that each partition had at the start has been reached; stays set."""
        self._properties = {**_DEFAULTS, **kafka_properties.reader(kafka, client_id), "enable.partition.eof": True}
        self.availability = Availability(topic, self._properties, log_level)
        self._topic, self._on_record = topic, on_record
        self._on_caught_up = on_caught_up
        self._make_consumer = make_consumer
        self._consumer: Any = None
        self._partitions: set[int] = set()
        self._ends: dict[int, int] = {}  # of the partitions that have not reached the end they had at the start
        self._discover_at = 0.0
        self._fatal: ConnectorError | None = None
        self._thread = ReaderThread(topic, self.step, self.close, on_fatal)

    @property
    def problem(self) -> str | None:
        """See LogReader."""
        return self.availability.problem

    def start(self) -> None:
        """Read on a thread until ``stop``; called once."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop and wait for the thread, ``timeout_s`` at most. Idempotent; may be called without ``start``."""
        self._thread.stop(timeout_s)

    def step(self, timeout_s: float = 0.2) -> None:
        """Look for partitions where that is due, then deliver what is there; wait for the first record only.

        Blocks for ``timeout_s``, and for two seconds more while the broker is away. Raises ConnectorError for what does
        not heal by itself.
        """
        if self._consumer is None:
            self._consumer = self._make_consumer({**self._properties, "error_cb": self._on_client_error})
        if time.monotonic() >= self._discover_at:
            is_complete = self._discover()
            self._discover_at = time.monotonic() + (_REDISCOVER_S if is_complete else _RETRY_S)
        first = self._consumer.poll(timeout_s)
        if first is not None:
            for message in (first, *self._consumer.consume(_MAX_RECORDS, 0)):
                self._take(message)
        if self._fatal is not None:
            raise self._fatal

    def close(self) -> None:
        """Close the consumer; for callers of ``step``, on their thread."""
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _discover(self) -> bool:
        """Assign the partitions that are new; False where it must be tried again soon."""
        try:
            found = self._consumer.list_topics(self._topic, _METADATA_TIMEOUT_S).topics[self._topic]
            for partition in sorted(set(found.partitions) - self._partitions):
                self._assign(partition)
        except KafkaException as error:
            self._on_error(error.args[0])
            return False
        if found.error is not None:
            self._on_error(found.error)
            return False
        self.availability.found()
        self._settle()
        return bool(found.partitions)

    def _assign(self, partition: int) -> None:
        place = TopicPartition(self._topic, partition, OFFSET_BEGINNING)
        if not self.caught_up.is_set():  # a partition that is added later has no "end at the start"
            low, high = self._consumer.get_watermark_offsets(place, _METADATA_TIMEOUT_S)
            if high > low:
                self._ends[partition] = high
        self._consumer.incremental_assign([place])
        self._partitions.add(partition)

    def _take(self, message: Message) -> None:
        error, partition, offset = message.error(), message.partition() or 0, message.offset() or 0
        if error is None:
            self._on_record(message.key(), message.value(), partition, offset)
        elif error.code() == NO_GROUP:  # librdkafka asks for a coordinator that nobody here needs
            return
        elif error.code() != PARTITION_EOF:
            self._on_error(error)
            return
        # The end of the partition counts as well: compaction and transaction markers leave gaps before it.
        if partition in self._ends and (error is not None or offset + 1 >= self._ends[partition]):
            del self._ends[partition]
            self._settle()

    def _settle(self) -> None:
        if self._partitions and not self._ends and not self.caught_up.is_set():
            log.debug("%s: caught up with %d partitions", self._topic, len(self._partitions))
            self._on_caught_up()
            self.caught_up.set()

    def _on_client_error(self, error: KafkaError) -> None:
        is_refused = kafka_refusals.explain(error, self._properties) is not None
        if error.fatal() or error.code() not in ONE_BROKER or is_refused:
            self._on_error(error)

    def _on_error(self, error: KafkaError) -> None:
        if error.code() in kafka_refusals.DENIED:
            self._fatal = denied(self._properties, Acl("topic", self._topic, "Read"))
        elif error.fatal() or error.code() in FATAL:
            self._fatal = ConnectorError(f"topic {self._topic}", kafka_refusals.text_of(error, self._properties))
        if self._fatal is not None:
            return
        self.availability.missed(error)
        self._discover_at = min(self._discover_at, time.monotonic() + _RETRY_S)
