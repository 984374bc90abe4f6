"""A stock Faust agent on aiokafka, at-least-once as far as Faust goes: per event, and with ``take``.

The agent that takes sends by Faust's own producer and waits for the broker once a batch: the fastest of the ways tried.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Any

import faust

from benchmarks.contenders.work import Work

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


def per_event(app: faust.App, results: Any, answer: Work) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """Return the agent's function as the documentation has it."""
    del app

    async def serve(stream: Any) -> None:
        async for event in stream.events():
            await results.send(key=event.key, value=answer([event.value])[0])

    return serve


def per_batch(app: faust.App, results: Any, answer: Work, size: int) -> Callable[[Any], Coroutine[Any, Any, None]]:
    """Return one that takes what is there, ``size`` at most, and is done when the broker has taken the results."""
    topic = results.get_topic_name()

    async def serve(stream: Any) -> None:
        producer = await app.maybe_start_producer()
        async for values in stream.take(size, within=0.05):
            sent = [await producer.send(topic, None, value, None, None, None) for value in answer(values)]
            await asyncio.gather(*sent)

    return serve


def main() -> None:
    """Run the worker until SIGTERM."""
    settings = json.loads(sys.argv[1])
    app = faust.App(
        settings["group"],
        broker=f"aiokafka://{settings['bootstrap']}",
        key_serializer="raw",
        value_serializer="raw",
        store="memory://",
        datadir=settings["folder"],
        topic_disable_leader=True,
        topic_allow_declare=False,
        topic_partitions=settings["partitions"],
        consumer_auto_offset_reset="earliest",
        stream_buffer_maxsize=32_768,
        producer_linger=0.005,
        producer_max_batch_size=1 << 18,
    )
    results, answer, size = app.topic(settings["results"]), Work(settings), settings["batch_size"]
    serve = per_event(app, results, answer) if size == 1 else per_batch(app, results, answer, size)
    app.agent(app.topic(settings["requests"]), name="serve")(serve)
    sys.argv[1:] = ["worker", "--loglevel", "error", "--without-web"]
    app.main()


if __name__ == "__main__":
    main()
