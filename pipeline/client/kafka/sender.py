"""KafkaSender: the producer half of a connection."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Final, NoReturn

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from pipeline.client import fork
from pipeline.client.kafka import topic_metadata
from pipeline.client.kafka.record import id_of
from pipeline.client.kafka.trouble import KafkaTrouble
from pipeline.client.outgoing import Outgoing
from pipeline.errors import ConnectorError
from pipeline.kafka_access import Acl
from pipeline.kafka_log import ClientLog
from pipeline.kafka_properties import Properties

log = logging.getLogger(__name__)

# How long one look at a full queue takes, before the queue's own deadline is looked at.
_FULL_POLL_S: Final = 0.05


class KafkaSender:
    """See Sender. Produces requests to one topic; any thread may call any method.

    ``on_failed(id, error)`` is told of a request that the broker did not take and returns whether somebody was
    waiting for it; the others are counted, and the next ``check`` or ``flush`` raises for them.
    """

    def __init__(
        self,
        topic: str,
        properties: Properties,
        trouble: KafkaTrouble,
        on_failed: Callable[[str, ConnectorError], bool],
    ) -> None:
        self._topic = topic
        self._on_failed = on_failed
        self._lock = threading.Lock()  # guards the two below
        self._failed = 0
        self._first: ConnectorError | None = None
        self._trouble = trouble
        self._refusal: ConnectorError | None = None  # why the producer has given up for good
        self._explain = trouble.explains(Acl("topic", topic, "Write"))
        try:
            self._producer = Producer({**properties, "error_cb": trouble.note}, logger=ClientLog(log, properties))
        except (KafkaException, TypeError, ValueError) as error:
            raise ConnectorError("kafka settings", str(error)) from error
        self._report: Any = self._on_delivery  # bound once, not once a request
        fork.watch(self)

    def check_topic(self, timeout_s: float) -> None:
        """Raise ConnectorError unless a broker answers in time and knows the request topic."""
        topic_metadata.count_partitions(self._producer, self._topic, timeout_s, self._explain)

    def offer(self, request: Outgoing) -> bool:
        """Put a request into the producer's queue without waiting; False where the queue is full."""
        self.check()
        try:
            self._producer.produce(
                self._topic, request.value, request.key, headers=list(request.headers), on_delivery=self._report
            )
        except BufferError:
            return False
        except KafkaException as error:
            reason = error.args[0]
            if reason.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                raise ConnectorError(
                    f"request {request.id}",
                    f"its {len(request.value)} bytes are more than this client may send; send fewer rows, or raise "
                    "message.max.bytes (kafka=), the topic's max.message.bytes and the route's max_record_bytes",
                ) from error
            if reason.code() == KafkaError._FATAL:
                self._poll(0)  # tells of what
            failure = self._refusal or self._explain(reason)
            raise failure or ConnectorError(f"topic {self._topic}", reason.str()) from error
        return True

    def send(self, request: Outgoing, timeout_s: float) -> None:
        """Put a request into the producer's queue; while that is full, wait, ``timeout_s`` at most.

        Raises ConnectorError where it stays full, where the request is too large, and for earlier requests that failed.
        """
        deadline_s = time.monotonic() + timeout_s
        while not self.offer(request):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                self.raise_full(timeout_s)
            self._poll(min(_FULL_POLL_S, left_s))

    def raise_full(self, timeout_s: float) -> NoReturn:
        """Raise the ConnectorError of a queue that stayed full."""
        waiting = len(self._producer)
        raise ConnectorError(
            f"topic {self._topic}",
            f"{waiting} requests wait, and the broker took none for {timeout_s:g} s{self._trouble}",
        )

    def poll(self) -> None:
        """Handle the delivery reports that have come; does not wait."""
        self._poll(0)

    def _poll(self, timeout_s: float) -> None:
        try:
            self._producer.poll(timeout_s)
        except KafkaException as error:  # it may write no topic at all; what waits is given back by later polls
            self._refusal = self._explain(error.args[0])
            if self._refusal is None:
                raise

    def flush(self, timeout_s: float) -> None:
        """Return when the broker has taken everything sent before; ConnectorError where it does not, or did not."""
        try:
            waiting = self._producer.flush(timeout_s)
        except KafkaException as error:
            self._refusal = self._explain(error.args[0])
            raise self._refusal or ConnectorError(f"topic {self._topic}", error.args[0].str()) from error
        self.check()
        if waiting:
            raise ConnectorError(
                f"topic {self._topic}", f"{waiting} requests are still not taken after {timeout_s:g} s{self._trouble}"
            )

    def check(self) -> None:
        """Raise the ConnectorError of the requests that failed since the last call, if any."""
        if self._first is None:
            return
        with self._lock:
            failed, first, self._failed, self._first = self._failed, self._first, 0, None
        if first is not None:
            if not first.retriable:  # what is refused to one is refused to all
                raise first
            raise ConnectorError(first.what, f"{first.reason} ({failed} earlier requests were not delivered)")

    def leave_to_parent(self) -> None:
        """See fork.Owner."""
        fork.keep_for_ever(self._producer)

    def _on_delivery(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            return
        id_ = id_of(message)
        failure = (
            self._refusal
            or self._explain(error)
            or ConnectorError(f"request {id_} to {self._topic}", f"{error.str()}{self._trouble}")
        )
        if self._on_failed(id_, failure):
            return
        with self._lock:
            self._failed += 1
            self._first = self._first or failure
