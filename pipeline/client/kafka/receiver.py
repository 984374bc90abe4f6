"""Receiver: the consumer half of a connection; it hears one partition of the result topic."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from pipeline.client import fork
from pipeline.client.address import reply_partition
from pipeline.client.kafka import topic_metadata
from pipeline.client.kafka.trouble import KafkaTrouble
from pipeline.errors import AccessDenied, ConnectorError
from pipeline.kafka_access import Acl
from pipeline.kafka_log import ClientLog
from pipeline.kafka_properties import Properties

log = logging.getLogger(__name__)

# How long the thread waits for a message before it looks whether it shall stop, and at the producer's reports.
_POLL_S: Final = 0.1
# How many messages that are there already are taken with the first.
_MORE: Final = 500


class Receiver:
    """Reads the reply partition of one client from where it ends when ``open`` returns, on a thread of its own.

    ``on_messages`` gets what has come, on that thread; ``on_idle`` is called there ten times a second at least, and
    ``on_stop`` when ``stop`` was called, before the consumer is closed. None of them may raise.
    """

    def __init__(
        self,
        topic: str,
        client_id: str,
        properties: Properties,
        trouble: KafkaTrouble,
        on_messages: Callable[[list[Message]], None],
        on_idle: Callable[[], None],
        on_stop: Callable[[], None],
    ) -> None:
        self._topic = topic
        self._client_id = client_id
        self._on_messages, self._on_idle, self._on_stop = on_messages, on_idle, on_stop
        self._is_stopping = False
        self._thread: threading.Thread | None = None
        self.partition = -1
        self._trouble = trouble
        try:
            self._consumer = Consumer({**properties, "error_cb": trouble.note}, logger=ClientLog(log, properties))
        except (KafkaException, TypeError, ValueError) as error:
            raise ConnectorError("kafka settings", str(error)) from error
        fork.watch(self)

    def open(self, timeout_s: float) -> None:
        """Take the reply partition at its present end and start the thread; every later message is heard.

        Not by the offset's name but by its number: "latest" would be looked up after this returns, too late for a fast
        answer. Raises ConnectorError when the topic does not exist or no broker answers in time.
        """
        deadline_s = time.monotonic() + timeout_s
        try:
            explain = self._trouble.explains(Acl("topic", self._topic, "Read"))
            partitions = topic_metadata.count_partitions(self._consumer, self._topic, timeout_s, explain)
            place = TopicPartition(self._topic, reply_partition(self._client_id, partitions))
            left_s = max(0.0, deadline_s - time.monotonic())
            end = topic_metadata.ask(self._topic, left_s, lambda s: self._consumer.get_watermark_offsets(place, s)[1])
        except AccessDenied:
            raise
        except ConnectorError as error:
            self._consumer.poll(0)  # has the trouble noted, which may know more
            refusal = self._trouble.why_not_let_in()
            if refusal is not None:
                raise refusal from error
            raise ConnectorError(error.what, f"{error.reason}{self._trouble}") from error
        self.partition = place.partition
        self._consumer.assign([TopicPartition(self._topic, place.partition, end)])
        self._thread = threading.Thread(target=self._run, name=f"penstock-{self._topic}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Have the thread end, soon; does not wait, takes no lock, may be called from anywhere."""
        self._is_stopping = True

    def join(self, timeout_s: float) -> None:
        """Wait until the thread has ended."""
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def abort(self) -> None:
        """Let go of the consumer after an ``open`` that failed."""
        self._consumer.close()

    def leave_to_parent(self) -> None:
        """See fork.Owner."""
        fork.keep_for_ever(self._consumer)

    def _run(self) -> None:
        while not self._is_stopping:
            try:
                self._step()
            except Exception:  # a thread that dies would leave every caller waiting
                log.exception("reading partition %d of %s", self.partition, self._topic)
        self._on_stop()
        self._consumer.close()

    def _step(self) -> None:
        first = self._consumer.poll(_POLL_S)
        if first is not None:
            self._take([first])  # mostly the only one, and somebody waits for it
            # ``consume`` waits until it has all it was asked for, so it is asked without a wait.
            self._take(self._consumer.consume(_MORE, 0))
        self._on_idle()

    def _take(self, messages: list[Message]) -> None:
        good: list[Message] = []
        for message in messages:
            error = message.error()
            if error is None:
                good.append(message)
            else:
                self._trouble.note(error, Acl("topic", self._topic, "Read"))
        if good:
            self._trouble.clear()
            self._on_messages(good)
