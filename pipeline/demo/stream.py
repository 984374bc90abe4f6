"""Requests at a steady pace, and a tally of every result on the topic, whoever it was for."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipeline import kafka_properties
from pipeline.demo.digits import INPUT, Part
from pipeline.demo.report import Received, Sent
from pipeline.errors import ConnectorError, Undecodable

if TYPE_CHECKING:
    from pipeline.records import PredictResult
    from pipeline.settings import Scalar

_POLL_S: Final = 0.2
_MAX_RECORDS: Final = 500
_TIMEOUT_S: Final = 10.0
_TICK_S: Final = 0.004
_RECENT: Final = 1000

Enqueue = Callable[[str, Mapping[str, Any]], object]


class Tally:
    """Reads the whole result topic from where it ends at the start, on a thread, and keeps what it saw, in order.

    Not the client's OutputQueue, which shows the first answer of its own requests and drops a second one: here every
    record counts, duplicates above all. ``received`` only grows; read it from any thread.
    """

    def __init__(self, kafka: Mapping[str, Scalar], topic: str) -> None:
        self._kafka, self._topic = kafka, topic
        self.received: list[Received] = []
        self.ids: set[str] = set()
        self.fatal: Exception | None = None
        self._is_stopping = threading.Event()
        self._consumer: Any = None
        self._thread = threading.Thread(target=self._run, name="penstock-demo-tally", daemon=True)

    def start(self) -> None:
        """Take position at the end of every partition and begin; raises ConnectorError."""
        from confluent_kafka import Consumer, KafkaException, TopicPartition

        self._consumer = Consumer(kafka_properties.reader(self._kafka, "penstock-demo-tally"))
        try:
            partitions = self._consumer.list_topics(self._topic, _TIMEOUT_S).topics[self._topic].partitions
            places = [TopicPartition(self._topic, number) for number in partitions]
            for place in places:
                place.offset = self._consumer.get_watermark_offsets(place, _TIMEOUT_S)[1]
        except KafkaException as error:
            raise ConnectorError(f"topic {self._topic}", error.args[0].str()) from error
        self._consumer.assign(places)
        self._thread.start()

    def stop(self) -> None:
        """Read no more, and close; waits for the thread."""
        self._is_stopping.set()
        if self._thread.is_alive():
            self._thread.join(_TIMEOUT_S)
        elif self._consumer is not None:
            self._consumer.close()

    def _run(self) -> None:
        from pipeline.codecs.avro_codec import AvroCodec

        codec = AvroCodec()
        try:
            while not self._is_stopping.is_set():
                first = self._consumer.poll(_POLL_S)
                for message in () if first is None else (first, *self._consumer.consume(_MAX_RECORDS, 0)):
                    if message.error() is None:
                        self._note(codec.decode_result(message.value()))
        except Undecodable as error:
            self.fatal = error
        finally:
            self._consumer.close()

    def _note(self, result: PredictResult) -> None:
        now_s = time.monotonic()
        if result.error is not None:
            found = Received(result.id, now_s, result.version, error=f"{result.error.code}: {result.error.message}")
        else:
            found = Received(result.id, now_s, result.version, int(np.argmax(result.outputs[0].array())))
        self.received.append(found)
        self.ids.add(found.id)


class Pace:
    """When the next request is due: ``per_s`` a second from the first call on, late ones at once. Blocks the caller."""

    def __init__(self, per_s: float) -> None:
        self._per_s = per_s
        self._start_s = 0.0
        self._count = 0

    def wait(self) -> None:
        """Return when the next request is due; the first is due at once."""
        now_s = time.monotonic()
        self._start_s = self._start_s or now_s
        due_s = self._start_s + self._count / self._per_s
        self._count += 1
        # Slept in steps of a few requests: a thousand short sleeps a second would be the demo's main work.
        if due_s - now_s > _TICK_S:
            time.sleep(due_s - now_s)


class Sender:
    """Sends the images of a part again and again, in one fixed order, with ids that tell their number."""

    def __init__(self, part: Part, enqueue: Enqueue, prefix: str = "digit") -> None:
        self._part, self._enqueue, self._prefix = part, enqueue, prefix
        self._order = np.random.default_rng(0).permutation(len(part.labels))
        self.sent: dict[str, Sent] = {}

    def send(self) -> str:
        """Send the next image as a request of its own, and return its id; the clock runs before it is handed over."""
        number = len(self.sent)
        row = int(self._order[number % len(self._order)])
        id_ = f"{self._prefix}-{number:06d}"
        image = self._part.images[row : row + 1]
        self.sent[id_] = Sent(int(self._part.labels[row]), time.monotonic())
        self._enqueue(id_, {INPUT: image})
        return id_


class Live:
    """Running figures of a stream, cheap enough to be looked at ten times a second."""

    def __init__(self, sent: Mapping[str, Sent]) -> None:
        self._sent = sent
        self._taken = 0
        self.answered: Counter[int] = Counter()
        self.right: Counter[int] = Counter()
        self.recent_ms: dict[int, deque[float]] = {}

    def update(self, received: Sequence[Received]) -> None:
        """Take in what has come since the last call; one thread at a time."""
        end = len(received)
        for result in received[self._taken : end]:
            request = self._sent.get(result.id)
            if request is None or result.version is None or result.error is not None:
                continue
            self.answered[result.version] += 1
            self.right[result.version] += result.digit == request.label
            recent = self.recent_ms.setdefault(result.version, deque(maxlen=_RECENT))
            recent.append((result.at_s - request.at_s) * 1e3)
        self._taken = end
