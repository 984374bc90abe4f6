"""The floor of a round trip: every request goes back as it came, by the shortest loop there is. No commit, no codec."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.place import Place

NAME = "echo"
DESCRIPTION = "confluent-kafka: consume, produce the same bytes back"


def command(place: Place) -> list[str | Path]:
    """Return the command that runs this file."""
    settings = {
        "bootstrap": place.bootstrap,
        "group": place.group,
        "requests": place.requests,
        "results": place.results,
    }
    return [sys.executable, Path(__file__), json.dumps(settings)]


def serve(settings: dict[str, Any], answer: Callable[[bytes | None], bytes | None]) -> None:
    """Answer until SIGTERM, one by one; offsets are committed by librdkafka in the background."""
    from confluent_kafka import Consumer, Producer  # noqa: PLC0415  # the harness reads this module's names without it

    bootstrap = {"bootstrap.servers": settings["bootstrap"]}
    consumer = Consumer(
        {**bootstrap, "group.id": settings["group"], "auto.offset.reset": "earliest", "auto.commit.interval.ms": 200}
    )
    producer = Producer({**bootstrap, "linger.ms": 0})
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
    consumer.subscribe([settings["requests"]])
    while not stopped:
        message = consumer.poll(0.2)
        if message is not None and message.error() is None:
            producer.produce(settings["results"], answer(message.value()), message.key(), message.partition() or 0)
        producer.poll(0)
    producer.flush(10)
    consumer.close()


if __name__ == "__main__":
    serve(json.loads(sys.argv[1]), lambda value: value)
