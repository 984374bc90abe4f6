"""How many partitions the topics have that a producer writes to, topics that grow included."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Producer

from pipeline.kafka_refusals import NO_SUCH_TOPIC

log = logging.getLogger(__name__)

_FIRST_TIMEOUT_S: Final = 10.0
# A topic that was asked for once is known: the answer is worth a moment, not a stop.
_AGAIN_TIMEOUT_S: Final = 1.0
# A partition that does not exist may be asked for by every record; the broker is asked about it once in a while.
_AGAIN_AFTER_S: Final = 0.25
# Requests name topics of their own, where ``reply_topics`` has a ``*``.
_MOST_TOPICS: Final = 1000
# What a topic may be called. librdkafka raises for some other names, and a request's word may be as long as a record.
_NAME: Final = re.compile(r"[a-zA-Z0-9._-]{1,249}")
# What the broker says of a topic that it will never write to: it is not there, its name is none, it is not for us.
NOT_FOR_US: Final = NO_SUCH_TOPIC | {KafkaError.TOPIC_EXCEPTION, KafkaError.TOPIC_AUTHORIZATION_FAILED}


class TopicSizes:
    """Partition counts, asked of the broker on first use and again when a partition beyond them is asked for.

    Asking also tells the producer of partitions that were added, which it would find out minutes later, and refuse to
    write to until then. Threads may share it: the worst is that a topic is asked for twice.
    """

    def __init__(self, producer: Producer, now_s: Callable[[], float] = time.monotonic) -> None:
        self._producer, self._now_s = producer, now_s
        self._counts: dict[str, int] = {}
        self._failed_s: dict[str, float] = {}  # when it did not have the partition either
        self._missing: dict[str, KafkaError] = {}  # of which the broker said so, and how

    def of(self, topic: str, partition: int) -> int:
        """Return how many partitions a topic has, for somebody who wants to write to ``partition``.

        0 where that is unknown: then the key alone decides. Blocks for ten seconds at most where the topic is new, one
        where it has been asked for before and seems to have grown.
        """
        count = self._counts.get(topic, 0)
        if count > partition or not _NAME.fullmatch(topic):
            return count
        failed_s = self._failed_s.get(topic)
        if failed_s is not None and self._now_s() - failed_s < _AGAIN_AFTER_S:
            return count
        if len(self._counts) + len(self._failed_s) > _MOST_TOPICS:
            self._counts.clear()
            self._failed_s.clear()
            self._missing.clear()
        found = self._ask(topic, _AGAIN_TIMEOUT_S if count else _FIRST_TIMEOUT_S)
        if found:
            self._counts[topic] = found
        if found <= partition:
            self._failed_s[topic] = self._now_s()
        return found or count

    def is_missing(self, topic: str) -> bool:
        """Return whether the broker says that there is no such topic, or none for this client. Blocks like ``of``."""
        return self.why_missing(topic) is not None

    def why_missing(self, topic: str) -> KafkaError | None:
        """Return how the broker says what ``is_missing`` does, None where it is not. Blocks like ``of``."""
        if not _NAME.fullmatch(topic):
            return KafkaError(KafkaError.TOPIC_EXCEPTION)
        return None if self.of(topic, 0) else self._missing.get(topic)

    def _ask(self, topic: str, timeout_s: float) -> int:
        try:
            found = self._producer.list_topics(topic, timeout=timeout_s).topics.get(topic)
        except KafkaException as error:
            log.warning("no metadata of topic %s: %s", topic, error)
            return 0
        self._missing.pop(topic, None)
        if found is None or (found.error is not None and found.error.code() in NOT_FOR_US):
            self._missing[topic] = KafkaError(KafkaError._UNKNOWN_TOPIC) if found is None else found.error
        return len(found.partitions) if found is not None and not found.error else 0
