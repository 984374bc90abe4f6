"""The idle client, a process of its own: ``python -m benchmarks.client KIND BOOTSTRAP REQUESTS RESULTS WARM_UP COUNT``.

It asks one question after another and prints how long each answer took. KIND ``predict`` is InputQueue.predict, KIND
``echo`` is confluent-kafka alone: produce, then poll the result topic for that record.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Final

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks import model
from benchmarks.produce import requests as make_requests

if TYPE_CHECKING:
    from collections.abc import Callable

# As an idle system has it: the one before is forgotten when the next one comes.
_PAUSE_S: Final = 0.01
_TIMEOUT_S: Final = 30.0


def measure(ask: Callable[[int], None], warm_up: int, count: int) -> list[float]:
    """Return the milliseconds of each of ``count`` questions after ``warm_up`` others."""
    took_ms = []
    for number in range(warm_up + count):
        started_s = time.perf_counter()
        ask(number)
        took_ms.append(1000 * (time.perf_counter() - started_s))
        time.sleep(_PAUSE_S)
    return took_ms[warm_up:]


def predict(bootstrap: str, requests: str, results: str, warm_up: int, count: int) -> list[float]:
    """Ask by ``InputQueue.predict``; AssertionError for a wrong answer."""
    from pipeline.client import InputQueue  # noqa: PLC0415  # the echo's process does without it

    rows = np.random.default_rng(2).standard_normal((warm_up + count, 1, model.FEATURES), np.float32)
    wanted = model.expected(rows.reshape(-1, model.FEATURES))
    with InputQueue(model.NAME, bootstrap=bootstrap, request_topic=requests, result_topic=results) as queue:

        def ask(number: int) -> None:
            got = queue.predict({model.INPUT: rows[number]}, timeout=_TIMEOUT_S)
            assert isinstance(got, np.ndarray)
            assert np.abs(got[0] - wanted[number]).max() < 1e-3

        return measure(ask, warm_up, count)


def echo(bootstrap: str, requests: str, results: str, warm_up: int, count: int) -> list[float]:
    """Ask by a bare producer and consumer; AssertionError for a wrong answer."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "echo-client", "enable.auto.commit": False})
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
    partition = TopicPartition(results, 0)
    partition.offset = consumer.get_watermark_offsets(partition)[1]
    consumer.assign([partition])
    pairs = list(make_requests(warm_up + count))

    def ask(number: int) -> None:
        key, value = pairs[number]
        producer.produce(requests, value, key, 0)
        message = consumer.poll(_TIMEOUT_S)
        assert message is not None
        assert message.value() == value
        producer.poll(0)

    try:
        return measure(ask, warm_up, count)
    finally:
        consumer.close()


if __name__ == "__main__":
    ask_by = {"predict": predict, "echo": echo}[sys.argv[1]]
    print(json.dumps(ask_by(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]), int(sys.argv[6]))))
