"""A client that only asks, a process of its own: ``python -m benchmarks.enqueue KIND URL TOPIC COUNT``.

It prints how many requests a second Redis has taken, each one row of two floats. KIND ``penstock`` is
InputQueue.enqueue and a flush at the end, ``cluster_serving`` the InputQueue.enqueue of bigdl-serving, as it is
published, ``one_by_one`` the client that one writes with redis-py: an XADD for each request, whose reply is waited for.
Each imports its own packages alone: that of ``cluster_serving`` runs where nothing of ours is.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from benchmarks import model
from benchmarks.workload import PAIR, request_id

if TYPE_CHECKING:
    from collections.abc import Callable


def penstock(url: str, topic: str, count: int) -> Callable[[], None]:
    """Return what sends them by ``InputQueue.enqueue``, float32 [1, 2] each."""
    from pipeline.client import InputQueue  # noqa: PLC0415  # the rivals' processes do without it

    rows = [row[None] for row in PAIR.rows()]
    queue = InputQueue(model.NAME, bootstrap=url, request_topic=topic).open()

    def send() -> None:
        for number in range(count):
            queue.enqueue(request_id(number), **{PAIR.input: rows[number % len(rows)]})
        queue.close(60)

    return send


def cluster_serving(url: str, topic: str, count: int) -> Callable[[], None]:
    """Return what sends them by bigdl-serving's ``InputQueue.enqueue``, float32 [2] each: it has no batch axis."""
    from bigdl.serving.client import InputQueue  # noqa: PLC0415  # only its own environment has it

    rows = list(PAIR.rows())
    server = urlsplit(url)
    # It prints a line for each request, and our answer is what stdout is for.
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        queue = InputQueue(host=server.hostname, port=str(server.port), name=topic)

    def send() -> None:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            for number in range(count):
                queue.enqueue(request_id(number), **{PAIR.input: rows[number % len(rows)]})

    return send


def one_by_one(url: str, topic: str, count: int) -> Callable[[], None]:
    """Return what sends them by XADD, encoded by fastavro while it goes, [1, 2] each."""
    import redis  # noqa: PLC0415  # the others do without these here

    from benchmarks.produce import requests as make_requests  # noqa: PLC0415  # as above

    client = redis.Redis.from_url(url, protocol=2)
    client.ping()
    pairs = make_requests(count, PAIR)

    def send() -> None:
        for key, value in pairs:
            client.xadd(topic, {"value": value, "key": key})
        client.close()

    return send


KINDS: Final = {"penstock": penstock, "cluster_serving": cluster_serving, "one_by_one": one_by_one}

if __name__ == "__main__":
    made = KINDS[sys.argv[1]](sys.argv[2], sys.argv[3], int(sys.argv[4]))
    started_s = time.perf_counter()
    made()
    print(json.dumps(int(sys.argv[4]) / (time.perf_counter() - started_s)))
