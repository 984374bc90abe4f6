"""Requests at a steady pace, whatever comes of them: an open loop, in order per key, with poison on demand."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from typing import Self

from confluent_kafka import KafkaError, Message, Producer

from tests.chaos.requests import Asked, Kind

KEYS = 40
_FLUSH_S = 120.0


class Load:
    """Sends requests to a topic on a thread of its own, until ``finish``. The same seed draws the same keys in the
    same order."""

    def __init__(self, bootstrap: str, topic: str, *, per_s: float, seed: int) -> None:
        properties = {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "acks": "all",
            "linger.ms": 5,
            "partitioner": "murmur2_random",
            "log_level": 0,
        }
        self._producer = Producer(properties)
        self._topic, self._per_s = topic, per_s
        self._draw = random.Random(f"{seed} keys")
        self._sequences: Counter[str] = Counter()
        self._poison: deque[Kind] = deque()
        self._refused: list[KafkaError] = []
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._send, name="chaos-load")
        self.asked: list[Asked] = []
        self.asked_at_s: dict[str, float] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._producer.purge()  # empty unless the run failed

    def poison(self, kind: Kind, count: int) -> None:
        """Make each second of the next requests one of this kind, until there were so many."""
        self._poison.extend([kind] * count)

    def finish(self) -> None:
        """Stop, and return when the broker has accepted every request; fail when it has refused one."""
        self._is_over.set()
        self._thread.join()
        left = self._producer.flush(_FLUSH_S)
        assert not left, f"{left} requests were not accepted within {_FLUSH_S:g} s"
        assert not self._refused, f"{len(self._refused)} requests were refused: {self._refused[0]}"

    def _send(self) -> None:
        started_s = time.monotonic()
        while not self._is_over.is_set():
            while len(self.asked) < (time.monotonic() - started_s) * self._per_s:
                self._produce(self._next())
            self._producer.poll(0.005)

    def _next(self) -> Asked:
        key = f"k{self._draw.randrange(KEYS)}"
        is_poison = self._poison and len(self.asked) % 2
        asked = Asked(key, self._sequences[key], self._poison.popleft() if is_poison else Kind.RESULT)
        self._sequences[key] += 1
        return asked

    def _produce(self, asked: Asked) -> None:
        self.asked.append(asked)
        self.asked_at_s[asked.id] = time.monotonic()
        while True:
            try:
                self._producer.produce(
                    self._topic, asked.value, asked.key.encode(), headers=asked.headers, on_delivery=self._on_delivery
                )
            except BufferError:  # the broker has been away for long
                self._producer.poll(0.1)
            else:
                return

    def _on_delivery(self, error: KafkaError | None, _: Message) -> None:
        if error is not None:
            self._refused.append(error)
