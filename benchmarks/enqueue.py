"""A client that only asks, a process of its own: ``python -m benchmarks.enqueue KIND URL TOPIC COUNT``.

It prints how many requests a second Redis has taken. KIND ``penstock`` is InputQueue.enqueue and a flush at the end,
``one_by_one`` the client that one writes with redis-py: an XADD for each request, whose reply is waited for.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from benchmarks import model
from benchmarks.produce import requests as make_requests
from benchmarks.workload import MLP

if TYPE_CHECKING:
    from collections.abc import Callable


def penstock(url: str, topic: str, count: int) -> Callable[[], None]:
    """Return what sends them by ``InputQueue.enqueue``."""
    from pipeline.client import InputQueue  # noqa: PLC0415  # the rival's process does without it

    rows = list(MLP.rows())
    queue = InputQueue(model.NAME, bootstrap=url, request_topic=topic).open()

    def send() -> None:
        for number in range(count):
            queue.enqueue(f"request-{number:09d}", **{model.INPUT: rows[number % len(rows)]})
        queue.close(60)

    return send


def one_by_one(url: str, topic: str, count: int) -> Callable[[], None]:
    """Return what sends them by XADD, encoded by fastavro while it goes."""
    import redis  # noqa: PLC0415  # ours does without it here

    client = redis.Redis.from_url(url, protocol=2)
    client.ping()
    pairs = make_requests(count)

    def send() -> None:
        for key, value in pairs:
            client.xadd(topic, {"value": value, "key": key})
        client.close()

    return send


if __name__ == "__main__":
    made = {"penstock": penstock, "one_by_one": one_by_one}[sys.argv[1]](sys.argv[2], sys.argv[3], int(sys.argv[4]))
    started_s = time.perf_counter()
    made()
    print(json.dumps(int(sys.argv[4]) / (time.perf_counter() - started_s)))
