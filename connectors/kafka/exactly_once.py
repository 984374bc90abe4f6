"""ExactlyOnce: answers, dead letters and offsets in one transaction, which covers several batches under load."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from connectors.kafka.delivery import Outbox
from connectors.kafka.offsets import OffsetTracker, Partition, Spans, Taken
from connectors.kafka.refusals import Refusals
from connectors.kafka.sent_batch import Attempt, SentBatch
from connectors.kafka.transaction import CALL_S, AbortedError, Transaction
from connectors.kafka.transaction_errors import has_group_moved
from pipeline.connector import Answer, Record, Refuse
from pipeline.errors import ConnectorError, PenstockError
from pipeline.kafka_log import ClientLog
from pipeline.kafka_properties import Properties
from pipeline.settings import RouteSettings

log = logging.getLogger(__name__)

_LOADED_S: Final = 0.005
_IDLE_S: Final = 0.1
# What a transaction holds at most, besides what ``commit_interval_ms`` says: its answers are kept until it is over.
_MAX_RECORDS: Final = 10_000
_MAX_BYTES: Final = 16 * 1024 * 1024
# How long to wait before a transaction is sent again: for the group to have settled, or for any other reason.
_REJOIN_S: Final = 1.0
_AGAIN_S: Final = 0.1


class ExactlyOnce:
    """See Guarantee. An answer and the acknowledgement of its request become visible together, or neither does.

    One thread has the producer: it begins a transaction with the first batch that is answered, and commits it at once
    when a batch was not full, for then nothing is coming that it could wait for; else after ``commit_interval_ms``. A
    transaction that fails is aborted and its batches are sent again, from memory: nothing is computed twice, and the
    consumer stays where it is. Batches of partitions that have gone to another member are left out. The group's
    coordinator refuses the offsets of who is no member of its present generation, so a transaction with answers of
    such partitions is never committed, and the next owner waits for one that is undecided (KIP-447).

    What was taken is finished when its transaction is committed. The future of a batch completes a little earlier, when
    the broker has its answers: the route may take more meanwhile.
    """

    def __init__(
        self,
        route: RouteSettings,
        properties: Properties,
        tracker: OffsetTracker,
        changed: threading.Condition,
        on_error: Callable[[KafkaError], None],
        on_fatal: Callable[[ConnectorError], None],
    ) -> None:
        """``changed`` guards ``tracker``; ``on_error`` is librdkafka's error callback."""
        self._route, self._tracker, self._changed = route, tracker, changed
        self._id = str(properties["transactional.id"])
        self._timeout_s = float(properties["transaction.timeout.ms"]) / 1000
        self._refusals, self._log = Refusals(route, properties), ClientLog(log, properties)
        self._properties = {**properties, "error_cb": self._on_producer_error}
        self._on_error, self._on_fatal = on_error, on_fatal
        # Guarded by ``changed``.
        self._queue: deque[SentBatch] = deque()
        self._metadata: Any = None  # of the group, as it was when the consumer was looked at last
        self._is_awaited = False
        self._stop_at_s: float | None = None
        self._failure: ConnectorError | None = None
        # The thread's own.
        self._open: list[SentBatch] = []  # in the transaction, in order
        self._attempts: list[Attempt] = []
        self._refusal: PenstockError | None = None  # of an answer, for a reason that is not its request's fault
        self._committer: Any = None  # the metadata that was used last

    def start(self) -> None:
        """See Guarantee."""
        self._producer = Producer(self._properties, logger=self._log)
        self._transaction = Transaction(self._producer, self._id, self._timeout_s, self._refusals, self._check_time)
        worker = str(self._properties["client.id"])
        self._outbox = Outbox(self._producer, self._route, self._make_room, worker=worker, refusals=self._refusals)
        self._thread = threading.Thread(target=self._run, name=f"{self._route.group}-transactions", daemon=True)
        self._thread.start()

    def send(self, taken: Taken, records: Sequence[Record], answers: Sequence[Answer], refuse: Refuse) -> Future[None]:
        """See Guarantee."""
        batch = SentBatch(taken, records, answers, refuse)
        with self._changed:
            failure = self._failure
            if failure is None:
                self._queue.append(batch)
                self._changed.notify_all()
        if failure is not None:
            batch.fail(failure)
        return batch.future

    def attend(self, consumer: Consumer, *, is_awaited: bool = False) -> None:
        """See Guarantee: hears from the consumer who it is in the group, and gives up a producer that hangs."""
        metadata = consumer.consumer_group_metadata()
        # Asked after, not before. Without a member's id the offsets of anybody would be taken.
        is_member = bool(consumer.memberid())
        with self._changed:
            has_changed = metadata != self._metadata
            self._metadata = metadata if is_member else None
            self._is_awaited = self._is_awaited or is_awaited
            if has_changed or is_awaited:
                self._changed.notify_all()
        if self._transaction.hangs:
            reason = "the client of Kafka does not come back from a call; the worker has to start anew"
            self._on_fatal(ConnectorError("kafka transactions", f"{reason}, and its requests come again"))

    def hand_out(self, consumer: Consumer, spans: Spans, ahead: Spans) -> None:
        """See Guarantee: the broker is told nothing, for that would be committed outside of the transactions."""

    def settle(self, consumer: Consumer, partitions: list[Partition] | None) -> None:
        """See Guarantee: what is finished is acknowledged already, and what is not will be left out."""
        del consumer, partitions
        with self._changed:
            self._is_awaited = False

    def on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """See Guarantee: there are none."""

    def stop(self, timeout_s: float) -> None:
        """See Guarantee: what is open and can not be committed in that time is aborted."""
        with self._changed:
            self._stop_at_s = time.monotonic() + timeout_s
            self._changed.notify_all()
        self._thread.join(timeout_s + CALL_S)

    # The thread.

    def _run(self) -> None:
        try:
            self._transaction.take_over()
            while self._step():
                pass
        except ConnectorError as error:
            self._end(error)
        except Exception as error:  # a thread's exception would be lost, and the worker half alive
            log.exception("transactions of %s", self._route.group)
            self._end(ConnectorError("kafka transactions", repr(error)))

    def _step(self) -> bool:
        """Send what has been answered, and commit when that is due; return False at the end."""
        for batch in self._next():
            self._send(batch)
        if self._is_due():
            try:
                self._commit()
            except AbortedError as reason:
                self._send_again(reason)
        elif self._open:
            self._producer.poll(_LOADED_S)
        with self._changed:
            return self._stop_at_s is None or bool(self._open or self._queue)

    def _next(self) -> list[SentBatch]:
        """Return what has been answered; wait a while for it where nothing is open."""
        if not self._open:
            self._producer.poll(0)  # its log and its errors
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._open or self._stop_at_s is not None, _IDLE_S)
            batches = list(self._queue)
            self._queue.clear()
            return batches

    def _send(self, batch: SentBatch) -> None:
        with self._changed:
            live = self._tracker.live(batch.taken)
        if len(live) < len(batch.taken):
            batch.keep(live)
        if not batch.records:
            batch.done()
            return
        self._transaction.begin()
        self._open.append(batch)
        self._attempts.append(Attempt(self._outbox, batch, self._on_refusal, self._flush))
        self._outbox.send_batch(self._attempts[-1])

    def _is_due(self) -> bool:
        if not self._open:
            return False
        with self._changed:
            is_urgent = self._is_awaited or self._stop_at_s is not None
            nothing_waits = not self._queue and len(self._open[-1].records) < self._route.max_batch_size
        return (
            is_urgent
            or nothing_waits
            or self._has_failed()
            or self._refusal is not None
            or time.monotonic() >= self._transaction.begun_s + self._route.commit_interval_ms / 1000
            or sum(len(batch.records) for batch in self._open) >= _MAX_RECORDS
            or sum(batch.size_bytes for batch in self._open) >= _MAX_BYTES
        )

    def _has_failed(self) -> bool:
        return any(attempt.has_failed for attempt in self._attempts)

    def _commit(self) -> None:
        """Commit the open transaction; raises AbortedError, or ConnectorError for what does not heal."""
        self._check_refusal()
        if self._has_failed():
            raise AbortedError("an answer was not accepted")
        offsets, self._committer = self._acknowledgements()
        self._transaction.commit(offsets, self._committer)
        with self._changed:
            for batch in self._open:
                self._tracker.finish(batch.taken)
            self._changed.notify_all()
        self._open, self._attempts = [], []

    def _acknowledgements(self) -> tuple[list[TopicPartition], Any]:
        """Return the offsets after what is open, and who commits them: one picture, for none of it has been lost.

        Waits while the consumer is no member of its group: either it will be again, or its partitions are lost.
        """

        def has_lost() -> bool:
            return any(len(self._tracker.live(batch.taken)) < len(batch.taken) for batch in self._open)

        with self._changed:
            while self._metadata is None and not has_lost():
                self._check_time()
                self._changed.wait(_AGAIN_S)
            if has_lost():
                raise AbortedError("partitions of it have gone to another member")
            ends = {partition: span.end for batch in self._open for partition, span in batch.taken}
            return [TopicPartition(*partition, end) for partition, end in ends.items()], self._metadata

    def _send_again(self, reason: AbortedError) -> None:
        """Abort, and send what was open in a transaction of its own, without what has been lost."""
        self._check_refusal()
        log.warning("the transaction of %d batches is aborted and sent again: %s", len(self._open), reason)
        self._transaction.abort()
        self._attempts = []
        if reason.error is not None:
            self._wait_for_better_times(reason.error)
        self._check_time()
        batches, self._open = self._open, []
        for batch in batches:
            self._send(batch)

    def _wait_for_better_times(self, error: KafkaError) -> None:
        with self._changed:
            if has_group_moved(error):
                self._changed.wait_for(
                    lambda: self._metadata != self._committer or self._stop_at_s is not None, _REJOIN_S
                )
            else:
                self._changed.wait(_AGAIN_S)

    def _on_producer_error(self, error: KafkaError) -> None:
        if error.fatal():
            self._on_fatal(self._refusals.of_transaction(error, self._id))
        self._on_error(error)

    def _on_refusal(self, error: PenstockError) -> None:
        self._refusal = self._refusal or error

    def _check_refusal(self) -> None:
        if isinstance(self._refusal, ConnectorError):
            raise self._refusal
        if self._refusal is not None:
            raise ConnectorError("kafka transactions", str(self._refusal))

    def _check_time(self) -> None:
        if self._stop_at_s is not None and time.monotonic() >= self._stop_at_s:
            reason = "the last one could not be committed in time; its requests come again"
            raise ConnectorError("kafka transactions", reason)

    def _flush(self) -> None:
        while len(self._producer) and not self._has_failed():
            self._producer.flush(_IDLE_S)
            self._check_time()

    def _make_room(self) -> bool:
        self._producer.poll(_LOADED_S)
        return self._stop_at_s is None or time.monotonic() < self._stop_at_s

    def _end(self, error: ConnectorError) -> None:
        """Fail everything that has no answer at the broker: the worker stops."""
        with self._changed:
            self._failure = error
            batches = [*self._open, *self._queue]
            self._queue.clear()
        self._on_fatal(error)
        for batch in batches:
            batch.fail(error)
        self._transaction.leave()
