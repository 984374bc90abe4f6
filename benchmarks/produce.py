"""The load generator, a process of its own: ``python -m benchmarks.produce BOOTSTRAP TOPIC COUNT`` fills a topic."""

from __future__ import annotations

import json
import sys
import time
from typing import Final

import numpy as np
from confluent_kafka import Producer

from benchmarks import model
from benchmarks.avro_records import AvroRecord

_DISTINCT_ROWS: Final = 251


def requests(count: int) -> list[tuple[bytes, bytes]]:
    """Return key and value of ``count`` single-row requests; the id is the key."""
    rows = np.random.default_rng(1).standard_normal((_DISTINCT_ROWS, model.FEATURES), np.float32)
    record = AvroRecord("PredictRequest")
    tensor = {"name": model.INPUT, "datatype": "FP32", "shape": [1, model.FEATURES]}
    data = [row.tobytes() for row in rows]
    pairs = []
    for number in range(count):
        name = f"request-{number:09d}"
        datum = {"id": name, "inputs": [{**tensor, "data": data[number % _DISTINCT_ROWS]}]}
        pairs.append((name.encode(), record.encode(datum)))
    return pairs


def main() -> None:
    """Produce and print how many, how large and how fast."""
    bootstrap, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "linger.ms": 50,
            "queue.buffering.max.messages": 500_000,
        }
    )
    pairs = requests(count)
    started_s = time.perf_counter()
    for key, value in pairs:
        while True:
            try:
                producer.produce(topic, value, key)
                break
            except BufferError:
                producer.poll(0.05)
    left = producer.flush(60)
    if left:
        sys.exit(f"{left} of {count} requests were not accepted")
    rate = count / (time.perf_counter() - started_s)
    print(json.dumps({"requests": count, "request_bytes": len(pairs[0][1]), "records_per_s": round(rate)}))


if __name__ == "__main__":
    main()
