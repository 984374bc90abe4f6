"""FastStream on confluent-kafka, at-least-once: a subscriber that is given batches and publishes batches."""

from __future__ import annotations

import asyncio
import json
import logging
import sys

from faststream import AckPolicy, FastStream
from faststream.confluent import KafkaBroker

from benchmarks.contenders.work import Work


def main() -> None:
    """Run the application until SIGTERM."""
    settings = json.loads(sys.argv[1])
    answer = Work(settings)
    broker = KafkaBroker(settings["bootstrap"], enable_idempotence=True, logger=None)

    async def serve(values: list[bytes]) -> None:
        await broker.publish_batch(*answer(values), topic=settings["results"])

    broker.subscriber(
        settings["requests"],
        group_id=settings["group"],
        auto_offset_reset="earliest",
        batch=True,
        max_records=settings["batch_size"],
        ack_policy=AckPolicy.ACK,  # its default commits before the handler runs
    )(serve)
    logging.disable(logging.INFO)
    asyncio.run(FastStream(broker, logger=None).run())


if __name__ == "__main__":
    main()
