"""The rival: the loop that an expert writes by hand with confluent-kafka, fastavro and OpenVINO, at-least-once.

It imports nothing of ours. Its guarantee is that of our worker: no offset is committed before the broker has accepted
the results. What it leaves out, because nobody asked for it: other formats, versions, labels, deadlines, error results,
headers, several inputs, several models, a rebalance while a batch is in flight, and in a result the source, the digest
and the times.

Its settings are the best of those tried (docs/performance.md): poll for the first record, then take what is there, 8000
at most; librdkafka's own linger of 5 ms, which a flush cuts short, fills its requests to the broker. With one at most
it is what a beginner writes: one record, one flush, one commit.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import work

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from confluent_kafka import Consumer, Producer

    from benchmarks.place import Place

NAME = "hand_written"
DESCRIPTION = "confluent-kafka + fastavro + OpenVINO by hand: batches, flush, synchronous commit"
BATCH_SIZE = 8000


def command(place: Place) -> list[str | Path]:
    """Return the command that runs this file."""
    settings = {**work.settings_for(place), "batch_size": BATCH_SIZE}
    return [sys.executable, "-m", __name__, json.dumps(settings)]


def serve(
    consumer: Consumer,
    producer: Producer,
    settings: dict[str, Any],
    answer: Callable[[Sequence[bytes | None]], list[bytes]],
) -> None:
    """Answer requests until SIGTERM."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
    batch_size, topic = settings["batch_size"], settings["results"]
    while not stopped:
        first = consumer.poll(0.2)
        if first is None:
            continue
        messages = [first, *consumer.consume(batch_size - 1, 0)]
        results = answer([message.value() for message in messages])
        for message, value in zip(messages, results, strict=True):
            producer.produce(topic, value, message.key(), message.partition() or 0)
        if producer.flush(60):
            sys.exit("the broker did not accept the results")
        consumer.commit(asynchronous=False)
    consumer.close()


def run(settings: dict[str, Any], answer: Callable[[Sequence[bytes | None]], list[bytes]]) -> None:
    """Subscribe and serve."""
    from confluent_kafka import Consumer, Producer  # noqa: PLC0415  # the harness reads this module's names without it

    bootstrap = {"bootstrap.servers": settings["bootstrap"]}
    group = {"group.id": settings["group"], "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({**bootstrap, **group})
    producer = Producer({**bootstrap, "enable.idempotence": True})
    consumer.subscribe([settings["requests"]])
    serve(consumer, producer, settings, answer)


if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    run(told, work.Work(told))
