"""The load generator, a process of its own: ``python -m benchmarks.produce BOOTSTRAP TOPIC COUNT``.

Options say what is asked for: ``--workload``, ``--wire``, and ``--streams``, among how many requests take turns.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from confluent_kafka import Producer

from benchmarks import wire
from benchmarks.sending import send
from benchmarks.workload import MLP, WORKLOADS, request_id

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.workload import Workload


def requests(
    count: int, load: Workload = MLP, wire_name: str = wire.AVRO, streams: Sequence[str] = ()
) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of ``count`` single-row requests; the id is the key. ``streams`` are asked in turn."""
    record = wire.named(wire_name).request
    tensor = {"name": load.input, "datatype": "FP32", "shape": [1, *load.row_shape]}
    data = [row.tobytes() for row in load.rows()]
    servables = [{"servable": stream} for stream in streams] or [{}]
    for number in range(count):
        name = request_id(number)
        inputs = [{**tensor, "data": data[number % load.distinct]}]
        yield name.encode(), record.encode({"id": name, **servables[number % len(servables)], "inputs": inputs})


def stream_names(count: int) -> list[str]:
    """Return the names of ``count`` streams; none for 0: requests then name nobody."""
    return [f"stream-{number}" for number in range(count)]


def main() -> None:
    """Produce and print how large a request is."""
    options = _parser().parse_args()
    producer = Producer(
        {
            "bootstrap.servers": options.bootstrap,
            "enable.idempotence": True,
            "linger.ms": 50,
            "queue.buffering.max.messages": 500_000,
        }
    )
    made = requests(options.count, WORKLOADS[options.workload], options.wire, stream_names(options.streams))
    _, size = send(producer, options.topic, made, 60, wire.named(options.wire).headers)
    print(json.dumps({"request_bytes": size}))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser()
    parser.add_argument("bootstrap")
    parser.add_argument("topic")
    parser.add_argument("count", type=int)
    parser.add_argument("--workload", choices=WORKLOADS, default=MLP.name)
    parser.add_argument("--wire", choices=wire.NAMES, default=wire.AVRO)
    parser.add_argument("--streams", type=int, default=0)
    return parser


if __name__ == "__main__":
    main()
