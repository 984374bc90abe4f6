"""The collector, a process of its own: ``python -m benchmarks.collect BOOTSTRAP REQUESTS RESULTS WARM_UP`` accounts.

It runs when the contender has ended, so it costs no contender anything and misses no late duplicate. The time of a
result is the broker's (LogAppendTime): one clock, which no contender and no collector can hold up.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Final

import numpy as np
from confluent_kafka import Consumer, Message, TopicPartition

from benchmarks import accounting, figures, model
from benchmarks.avro_records import AvroRecord, Datum

_TIMEOUT_S: Final = 60.0
_TOLERANCE: Final = 1e-3


def read(bootstrap: str, topic: str) -> list[Message]:
    """Return every record of a topic as it is now; raises TimeoutError."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "collector", "enable.auto.commit": False})
    try:
        partitions = [TopicPartition(topic, p, 0) for p in consumer.list_topics(topic).topics[topic].partitions]
        count = sum(consumer.get_watermark_offsets(partition)[1] for partition in partitions)
        consumer.assign(partitions)
        messages: list[Message] = []
        deadline_s = time.monotonic() + _TIMEOUT_S
        while len(messages) < count:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"read {len(messages)} of {count} records of {topic} in {_TIMEOUT_S:g} s")
            found = consumer.consume(min(10_000, count - len(messages)), 1.0)
            messages += [message for message in found if message.error() is None]
        return messages
    finally:
        consumer.close()


def account(requests: list[Datum], results: list[Datum]) -> accounting.Account:
    """Return the account, every output compared with what numpy computes from the request."""
    ids = [request["id"] for request in requests]
    errors = sum(result["error"] is not None for result in results)
    inputs = b"".join(request["inputs"][0]["data"] for request in requests)
    expected = model.expected(np.frombuffer(inputs, "<f4").reshape(-1, model.FEATURES))
    position = {name: number for number, name in enumerate(ids)}
    answered = [result for result in results if result["error"] is None and result["id"] in position]
    got = np.frombuffer(b"".join(result["outputs"][0]["data"] for result in answered), "<f4")
    wanted = expected[[position[result["id"]] for result in answered]]
    is_close = np.abs(got.reshape(-1, model.CLASSES) - wanted).max(axis=1, initial=0) < _TOLERANCE
    return accounting.account(ids, [result["id"] for result in results], errors, int((~is_close).sum()))


def collect(bootstrap: str, requests: str, results: str, warm_up: int) -> dict[str, Any]:
    """Return the account of the two topics and the rate after the warm-up, 0 where nothing came after it."""
    request_record, result_record = AvroRecord("PredictRequest"), AvroRecord("PredictResult")
    asked = [request_record.decode(message.value()) for message in read(bootstrap, requests)]
    messages = read(bootstrap, results)
    answers = [result_record.decode(message.value()) for message in messages]
    took_ms = [message.timestamp()[1] for message in messages]
    return {
        "account": account(asked, answers),
        "records_per_s": figures.steady_rate(took_ms, warm_up) if len(messages) > warm_up else 0.0,
        "result_bytes": max((len(message.value() or b"") for message in messages), default=0),
    }


if __name__ == "__main__":
    print(json.dumps(collect(sys.argv[1], sys.argv[2], sys.argv[3], warm_up=int(sys.argv[4]))))
