"""AtLeastOnce: produce, wait for the broker, commit the lowest contiguous offset."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from connectors.kafka.delivery import Delivery, Outbox
from connectors.kafka.offsets import OffsetTracker, Partition, Spans, Taken
from connectors.kafka.refusals import Refusals
from connectors.kafka.suspects import Suspects
from pipeline.connector import Answer, Record, Refuse
from pipeline.errors import ConnectorError, PenstockError
from pipeline.kafka_log import ClientLog
from pipeline.kafka_properties import Properties
from pipeline.settings import RouteSettings

log = logging.getLogger(__name__)

# How long the delivery thread waits at most: for something to send, which wakes it; for the broker, before it sends
# what waits behind what the broker has not accepted.
_IDLE_S: Final = 1.0
_BLOCKED_S: Final = 0.1
# How long the thread that has produced an answer that is alone waits for it itself: librdkafka counts milliseconds.
_AT_ONCE_S: Final = 0.001
# How long a full queue of the producer is left to the delivery thread before it is tried again.
_FULL_S: Final = 0.002


class AtLeastOnce:
    """See Guarantee. An offset is committed when the broker has accepted every answer up to it.

    Answers are produced on the worker thread, delivery reports come on a thread of its own, commits are made on the
    feeder's. What was taken is finished when its answers are delivered.

    Answers that come while others are on their way to the broker wait for those, and then go together: librdkafka has
    one request at a time on its way for a partition, and its thread spins while there is more to send. So an answer
    that finds nothing on its way goes out at once, and the more there are, the more go in one request (decision 17).
    An answer that is alone is flushed where it was produced: to hand it to another thread takes longer than to send it.
    """

    def __init__(
        self,
        route: RouteSettings,
        properties: Properties,
        tracker: OffsetTracker,
        suspects: Suspects,
        changed: threading.Condition,
        on_error: Callable[[KafkaError], None],
    ) -> None:
        """``changed`` guards ``tracker`` and ``suspects``; ``on_error`` is librdkafka's error callback."""
        self._route, self._tracker, self._suspects, self._changed = route, tracker, suspects, changed
        self._properties = {**properties, "error_cb": on_error}
        self._refusals, self._log = Refusals(route, properties), ClientLog(log, properties)
        self._is_sending = threading.Event()
        self._turn = threading.Lock()  # guards the two that follow
        self._is_busy = False  # answers are on their way
        self._held: list[Delivery] = []  # what waits for them
        self._stopping = threading.Event()
        self._next_commit_s = 0.0
        # All is committed at the end. Not again when the consumer leaves its group: seldom the client aborts then, for
        # an outcome that names no partitions.
        self._is_settled = False
        # Guarded by ``changed``: of batches that are not delivered, and why the producer takes nothing any more.
        self._waiting: set[Future[None]] = set()
        self._ended: ConnectorError | None = None
        self._unbatched: Producer | None = None

    def start(self) -> None:
        """See Guarantee."""
        self._producer = Producer(self._properties, logger=self._log)
        worker = str(self._properties["client.id"])
        self._outbox = Outbox(
            self._producer, self._route, self._make_room, self._make_unbatched, worker, refusals=self._refusals
        )
        self._thread = threading.Thread(target=self._deliver, name=f"{self._route.group}-delivery", daemon=True)
        self._thread.start()

    def send(self, taken: Taken, records: Sequence[Record], answers: Sequence[Answer], refuse: Refuse) -> Future[None]:
        """See Guarantee."""
        future: Future[None] = Future()
        with self._changed:
            self._waiting.add(future)
            ended = self._ended
        if ended is not None:
            self._fail([future], ended)
            return future

        def on_done() -> None:
            with self._changed:
                self._tracker.finish(taken)
                is_waiting = future in self._waiting
                self._waiting.discard(future)
                self._changed.notify_all()
            if is_waiting:
                future.set_result(None)

        def on_failed(error: PenstockError) -> None:
            self._fail([future], error)

        delivery = Delivery(self._outbox, records, answers, refuse, on_done, on_failed)
        with self._turn:
            if self._is_busy:
                self._held.append(delivery)
                return future
            self._is_busy = True
        self._outbox.send_batch(delivery)
        if len(answers) == 1:
            self._serve(self._producer.flush, _AT_ONCE_S)
            self._send_held()
            if future.done():
                return future
        self._is_sending.set()
        return future

    def attend(self, consumer: Consumer, *, is_awaited: bool = False) -> None:
        """See Guarantee: commits what has been delivered, every ``commit_interval_ms``."""
        now_s = time.monotonic()
        if now_s >= self._next_commit_s and not is_awaited:
            self._next_commit_s = now_s + self._route.commit_interval_ms / 1000
            with self._changed:
                fresh = self._tracker.pop_committable()
            if fresh:
                self._commit(consumer, fresh, asynchronous=True)

    def hand_out(self, consumer: Consumer, spans: Spans, ahead: Spans) -> None:
        """See Guarantee: commits what is done with the marks of Suspects, where those are due."""
        with self._changed:
            due = self._suspects.take(spans, ahead)
            if not due:
                return
            ends = _later(self._tracker.pop_committable(), due)
        self._commit(consumer, ends, asynchronous=False)

    def settle(self, consumer: Consumer, partitions: list[Partition] | None) -> None:
        """See Guarantee: commits once more what a commit on its way may not bring home."""
        if self._is_settled:
            return
        with self._changed:
            due = self._suspects.leave(self._tracker.assigned if partitions is None else partitions)
            ends = _later(self._tracker.committable(partitions), due)
        is_committed = self._commit(consumer, ends, asynchronous=False, is_leaving=True)
        self._is_settled = is_committed and partitions is None

    def on_commit(self, error: KafkaError | None, partitions: list[TopicPartition]) -> None:
        """Take the consumer's word on a commit that was not waited for; what it refused is committed again."""
        with self._changed:
            if error is None:
                self._suspects.have_landed(partitions)
            elif error.code() != KafkaError._NO_OFFSET:
                keys = [(partition.topic, partition.partition) for partition in partitions]
                log.info("offsets of %s were not committed yet: %s", keys, error.str())
                self._tracker.hand_back(keys)

    def stop(self, timeout_s: float) -> None:
        """See Guarantee."""
        deadline_s = time.monotonic() + timeout_s
        self._stopping.set()
        self._is_sending.set()
        self._thread.join(max(1.0, timeout_s))
        self._send_held()
        for producer in (self._producer, self._unbatched):
            if producer is not None:
                self._serve(producer.flush, max(0.1, deadline_s - time.monotonic()))

    def _deliver(self) -> None:
        """Have answers go out, which ``flush`` does without lingering, and take delivery reports."""
        try:
            while not self._stopping.is_set():
                if not self._is_busy:
                    self._is_sending.wait(_IDLE_S)
                    self._is_sending.clear()
                if self._unbatched is not None:
                    self._serve(self._unbatched.poll, 0)
                self._serve(self._producer.flush, _BLOCKED_S)
                self._send_held()
        except Exception as error:  # a thread's exception would be lost, and the route wait for ever
            log.exception("delivering")
            self._end(ConnectorError(f"results of {self._route.group}", f"{type(error).__name__}: {error}"))

    def _send_held(self) -> None:
        """Send what has waited. Where the broker takes some answers of before, and not others, it waits no longer."""
        with self._turn:
            held, self._held = self._held, []
            self._is_busy = bool(held) or len(self._producer) > 0
        for delivery in held:
            self._outbox.send_batch(delivery)

    def _serve(self, call: Callable[[float], object], timeout_s: float) -> None:
        """Take delivery reports by a call of a producer. Where that has ended for good, this is where it says why."""
        try:
            call(timeout_s)
        except KafkaException as error:
            self._end(self._refusals.of_producer(error.args[0], self._route.result_topic))

    def _end(self, reason: ConnectorError) -> None:
        """Say that nothing will be delivered any more."""
        with self._changed:
            self._ended = reason
            waiting = list(self._waiting)
        self._fail(waiting, reason)

    def _fail(self, futures: Iterable[Future[None]], error: PenstockError) -> None:
        """Say that answers will not be delivered, of those of which nothing was said yet."""
        with self._changed:
            failed = [future for future in futures if future in self._waiting]
            self._waiting.difference_update(failed)
        for future in failed:
            future.set_exception(error)

    def _make_unbatched(self) -> Producer:
        """Return the producer for what the broker has refused among others; its reports come on the same thread."""
        if self._unbatched is None:
            self._unbatched = Producer({**self._properties, "batch.num.messages": 1, "linger.ms": 0}, logger=self._log)
        return self._unbatched

    def _make_room(self) -> bool:
        # The queue becomes empty as delivery reports are taken.
        if threading.current_thread() is self._thread:
            self._serve(self._producer.poll, _FULL_S)
        else:
            time.sleep(_FULL_S)
        return not self._stopping.is_set()

    def _commit(
        self, consumer: Consumer, ends: dict[Partition, int], *, asynchronous: bool, is_leaving: bool = False
    ) -> bool:
        """Return whether the broker has them, or, where it is not waited for, has been asked."""
        with self._changed:
            offsets = self._suspects.marked(ends, is_leaving=is_leaving)
        if not offsets:
            return True
        try:
            if asynchronous:
                consumer.commit(offsets=offsets, asynchronous=True)
            else:
                consumer.commit(offsets=offsets, asynchronous=False)
                with self._changed:
                    self._suspects.have_landed(offsets)
        except KafkaException as error:
            # What no later commit covers is delivered again.
            log.warning("offsets %s were not committed: %s", sorted(ends), error)
            return False
        return True


def _later(ends: dict[Partition, int], due: Mapping[Partition, int]) -> dict[Partition, int]:
    """Return the offsets to commit: of a partition in both, the later one."""
    return {**ends, **{key: max(offset, ends.get(key, offset)) for key, offset in due.items()}}
