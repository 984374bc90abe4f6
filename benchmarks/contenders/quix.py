"""Quix Streams, at-least-once: its ordinary way, a function per record, and its own way to batches, a sink.

A window would need a key that requests share; a sink is given what came since the last checkpoint, writes it, and only
then the checkpoint is committed.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from confluent_kafka import Producer
from quixstreams import Application
from quixstreams.sinks.base import BatchingSink, SinkBatch

from benchmarks.contenders.work import Work


class Results(BatchingSink):  # type: ignore[misc]  # its package is only in the environment of its own
    """Answers a batch and returns when the broker has taken the results."""

    def __init__(self, settings: dict[str, Any], answer: Work) -> None:
        super().__init__()
        self._topic, self._answer, self._bootstrap = settings["results"], answer, settings["bootstrap"]

    def setup(self) -> None:
        """See BaseSink."""
        self._producer = Producer({"bootstrap.servers": self._bootstrap, "enable.idempotence": True})

    def write(self, batch: SinkBatch) -> None:
        """See BatchingSink."""
        items = list(batch)
        for item, value in zip(items, self._answer([item.value for item in items]), strict=True):
            self._producer.produce(self._topic, value, item.key, batch.partition)
        if self._producer.flush(60):
            raise TimeoutError("the broker did not accept the results")


def main() -> None:
    """Run the application until SIGTERM."""
    settings = json.loads(sys.argv[1])
    answer = Work(settings)
    app = Application(
        broker_address=settings["bootstrap"],
        consumer_group=settings["group"],
        auto_offset_reset="earliest",
        auto_create_topics=False,
        commit_interval=settings["commit_interval_s"],
        commit_every=settings["commit_every"],
        producer_extra_config={"enable.idempotence": True},
        state_dir=settings["folder"],
        loglevel="WARNING",
        processing_guarantee="at-least-once",
    )
    frame = app.dataframe(app.topic(settings["requests"], key_deserializer="bytes", value_deserializer="bytes"))
    if settings["commit_every"]:
        frame.sink(Results(settings, answer))
    else:
        results = app.topic(settings["results"], key_serializer="bytes", value_serializer="bytes")
        frame.apply(lambda value: answer([value])[0]).to_topic(results)
    app.run()


if __name__ == "__main__":
    main()
