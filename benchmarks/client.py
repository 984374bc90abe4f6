"""The idle client, a process of its own: ``python -m benchmarks.client KIND BOOTSTRAP REQUESTS RESULTS WARM_UP COUNT``.

It asks one question after another and prints how long each answer took. KIND ``predict`` is InputQueue.predict, KIND
``echo`` is confluent-kafka alone: produce, then poll the result topic for that record. KIND ``by-hand`` is that, and
Avro by fastavro: what one would write instead of InputQueue.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks import model, wire
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
    from pipeline.client import InputQueue  # noqa: PLC0415  # the others' processes do without it

    rows, wanted = _questions(warm_up + count)
    with InputQueue(model.NAME, bootstrap=bootstrap, request_topic=requests, result_topic=results) as queue:

        def ask(number: int) -> None:
            got = queue.predict({model.INPUT: rows[number]}, timeout=_TIMEOUT_S)
            assert isinstance(got, np.ndarray)
            assert np.abs(got[0] - wanted[number]).max() < 1e-3

        return measure(ask, warm_up, count)


def by_hand(bootstrap: str, requests: str, results: str, warm_up: int, count: int) -> list[float]:
    """Ask by a producer, a consumer and fastavro; AssertionError for a wrong answer."""
    avro = wire.named(wire.AVRO)
    rows, wanted = _questions(warm_up + count)

    def ask(number: int) -> None:
        id_, row = f"question-{number}", rows[number]
        tensor = {"name": model.INPUT, "datatype": "FP32", "shape": list(row.shape), "data": row.tobytes()}
        answer = avro.result.decode(bare.ask(id_.encode(), avro.request.encode({"id": id_, "inputs": [tensor]})))
        output = answer["outputs"][0]
        got = np.frombuffer(output["data"], "<f4").reshape(output["shape"])
        assert answer["id"] == id_
        assert np.abs(got[0] - wanted[number]).max() < 1e-3

    with contextlib.closing(_Bare(bootstrap, requests, results)) as bare:
        return measure(ask, warm_up, count)


def echo(bootstrap: str, requests: str, results: str, warm_up: int, count: int) -> list[float]:
    """Ask by a bare producer and consumer; AssertionError for a wrong answer."""
    pairs = list(make_requests(warm_up + count))

    def ask(number: int) -> None:
        key, value = pairs[number]
        assert bare.ask(key, value) == value

    with contextlib.closing(_Bare(bootstrap, requests, results)) as bare:
        return measure(ask, warm_up, count)


class _Bare:
    """A producer and a consumer of one partition; one question at a time."""

    def __init__(self, bootstrap: str, requests: str, results: str) -> None:
        self._requests = requests
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "echo-client", "enable.auto.commit": False}
        )
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
        partition = TopicPartition(results, 0)
        partition.offset = self._consumer.get_watermark_offsets(partition)[1]
        self._consumer.assign([partition])

    def ask(self, key: bytes, value: bytes) -> bytes | None:
        """Return the value of the next record that comes back."""
        self._producer.produce(self._requests, value, key, 0)
        message = self._consumer.poll(_TIMEOUT_S)
        assert message is not None
        self._producer.poll(0)
        return message.value()

    def close(self) -> None:
        self._consumer.close()


def _questions(count: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return so many rows, [count, 1, features], and the model's answers, [count, logits], both f32."""
    rows = np.random.default_rng(2).standard_normal((count, 1, model.FEATURES), np.float32)
    return rows, model.expected(rows.reshape(-1, model.FEATURES))


if __name__ == "__main__":
    ask_by = {"predict": predict, "echo": echo, "by-hand": by_hand}[sys.argv[1]]
    print(json.dumps(ask_by(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]), int(sys.argv[6]))))
