"""The load generator, a process of its own: ``python -m benchmarks.produce BOOTSTRAP TOPIC COUNT [WORKLOAD]``."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from benchmarks.avro_records import AvroRecord
from benchmarks.workload import MLP, WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.workload import Workload


def requests(count: int, load: Workload = MLP) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of ``count`` single-row requests; the id is the key."""
    record = AvroRecord("PredictRequest")
    tensor = {"name": load.input, "datatype": "FP32", "shape": [1, *load.row_shape]}
    data = [row.tobytes() for row in load.rows()]
    for number in range(count):
        name = f"request-{number:09d}"
        datum = {"id": name, "inputs": [{**tensor, "data": data[number % load.distinct]}]}
        yield name.encode(), record.encode(datum)


def main() -> None:
    """Produce and print how many, how large and how fast."""
    bootstrap, topic, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    load = WORKLOADS[sys.argv[4]] if len(sys.argv) > 4 else MLP
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "partitioner": "murmur2_random",
            "enable.idempotence": True,
            "linger.ms": 50,
            "queue.buffering.max.messages": 500_000,
        }
    )
    started_s = time.perf_counter()
    size = 0
    for key, value in requests(count, load):
        size = len(value)
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
    print(json.dumps({"requests": count, "request_bytes": size, "records_per_s": round(rate)}))


if __name__ == "__main__":
    main()
