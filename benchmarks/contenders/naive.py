"""The loop that a beginner writes with confluent-kafka, at-least-once: one record, one flush, one commit."""

from __future__ import annotations

import json
import signal
import sys

from benchmarks.contenders.work import Work


def main() -> None:
    """Answer requests until SIGTERM."""
    from confluent_kafka import Consumer, Producer  # noqa: PLC0415  # mypy and the harness do without it

    settings = json.loads(sys.argv[1])
    answer = Work(settings)
    bootstrap = {"bootstrap.servers": settings["bootstrap"]}
    group = {"group.id": settings["group"], "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({**bootstrap, **group})
    producer = Producer({**bootstrap, "enable.idempotence": True})
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
    consumer.subscribe([settings["requests"]])
    while not stopped:
        message = consumer.poll(0.2)
        if message is None or message.error() is not None:
            continue
        producer.produce(settings["results"], answer([message.value()])[0], message.key())
        if producer.flush(60):
            sys.exit("the broker did not accept the result")
        consumer.commit(message=message, asynchronous=False)
    consumer.close()


if __name__ == "__main__":
    main()
