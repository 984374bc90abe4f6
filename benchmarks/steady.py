"""A steady load, a process of its own: ``python -m benchmarks.steady BOOTSTRAP REQUESTS RESULTS RATE FILE``.

Open loop: request number n is due n / RATE seconds after the first, whatever became of those before it, so a worker
that stands still makes every request late that was due meanwhile. A latency runs from the moment the request was due to
that at which its answer is here, by this process's clock: nothing that the worker does can hold it up. It goes on until
SIGTERM, waits for the last answers, and writes what it saw to FILE.
"""

from __future__ import annotations

import gc
import itertools
import json
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from benchmarks import produce
from benchmarks.avro_records import AvroRecord
from benchmarks.sending import flush, put
from benchmarks.workload import number_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_LONGEST_S: Final = 120
_POLL_S: Final = 0.1
_LAST_ANSWERS_S: Final = 30.0


class Receiver:
    """Notes when each result from now on is here, on a thread of its own, and looks into none before the end."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "steady", "enable.auto.commit": False})
        partitions = [TopicPartition(topic, p) for p in self._consumer.list_topics(topic).topics[topic].partitions]
        for partition in partitions:
            partition.offset = self._consumer.get_watermark_offsets(partition)[1]
        self._consumer.assign(partitions)
        self._stopped = threading.Event()
        self.came: list[tuple[float, Message]] = []
        self._thread = threading.Thread(target=self._receive)
        self._thread.start()

    def close(self) -> None:
        """Stop; ``came`` does not grow any more."""
        self._stopped.set()
        self._thread.join()
        self._consumer.close()

    def _receive(self) -> None:
        while not self._stopped.is_set():
            message = self._consumer.poll(_POLL_S)
            if message is not None and message.error() is None:
                self.came.append((time.time(), message))


def evenly(rate: float) -> Iterator[float]:
    """Yield when each request is due, in seconds after the first."""
    return (number / rate for number in itertools.count())


def drive(
    bootstrap: str,
    topic: str,
    pairs: Iterable[tuple[bytes, bytes]],
    due_after_s: Iterable[float],
    stopped: Sequence[int] = (),
    linger_ms: int = 0,
) -> tuple[list[float], list[float]]:
    """Send each request when it is due, in seconds after the first, until ``stopped`` holds anything.

    Return when each was due, in seconds since the Unix epoch, and by how many seconds it was sent after that: a
    generator that is late sends at once what was due meanwhile.
    """
    producer = producer_for(bootstrap, linger_ms)
    due_s: list[float] = []
    late_s: list[float] = []
    start_s = time.time()
    for (key, value), after_s in zip(pairs, due_after_s, strict=False):  # the shorter of the two ends it
        at_s = start_s + after_s
        ahead_s = at_s - time.time()
        if ahead_s > 0:
            time.sleep(ahead_s)
        if stopped:
            break
        due_s.append(at_s)
        late_s.append(max(0.0, -ahead_s))
        put(producer, topic, key, value)
        producer.poll(0)
    flush(producer, _LAST_ANSWERS_S)
    return due_s, late_s


def producer_for(bootstrap: str, linger_ms: int) -> Producer:
    """Return the producer of a load."""
    placing = {"partitioner": "murmur2_random", "enable.idempotence": True}
    return Producer({"bootstrap.servers": bootstrap, "linger.ms": linger_ms, **placing})


def wait_for_answers(receiver: Receiver, count: int) -> None:
    """Return when ``count`` results have come, or when they take too long: what is missing is accounted later."""
    deadline_s = time.monotonic() + _LAST_ANSWERS_S
    while len(receiver.came) < count and time.monotonic() < deadline_s:
        time.sleep(_POLL_S)


def seen(due_s: list[float], came: list[tuple[float, Message]]) -> dict[str, list[Any]]:
    """Return by request: when it was due, the milliseconds to its first answer, and the version that gave it."""
    record = AvroRecord("PredictResult")
    took_ms: list[float | None] = [None] * len(due_s)
    versions: list[int | None] = [None] * len(due_s)
    for at_s, message in reversed(came):
        result = record.decode(message.value())
        number = number_of(result["id"])
        took_ms[number] = 1000 * (at_s - due_s[number])
        versions[number] = result["version"]
    return {"due_s": due_s, "took_ms": took_ms, "versions": versions}


def main() -> None:
    """Drive, receive, write."""
    gc.disable()  # what is kept has no cycles, and each look at it would make requests late
    bootstrap, requests, results, rate, path = sys.argv[1:6]
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
    receiver = Receiver(bootstrap, results)
    try:
        pairs = list(produce.requests(int(_LONGEST_S * float(rate))))
        due_s, _ = drive(bootstrap, requests, pairs, evenly(float(rate)), stopped)
        wait_for_answers(receiver, len(due_s))
    finally:
        receiver.close()
    Path(path).write_text(json.dumps(seen(due_s, receiver.came)))


if __name__ == "__main__":
    main()
