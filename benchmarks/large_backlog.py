"""Requests of one size, and the account of what answered them, in a process of its own that holds one at a time.

``python -m benchmarks.large_backlog produce BOOTSTRAP TOPIC COUNT BYTES``, or ``collect BOOTSTRAP TOPIC COUNT``.
The first element of a request is its number, and the answer.
"""

from __future__ import annotations

import json
import struct
import sys
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import Producer

from benchmarks import accounting, figures
from benchmarks.avro_records import AvroRecord
from benchmarks.reading import read
from benchmarks.sending import send
from benchmarks.workload import number_of, request_id

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT_S: Final = 120.0
# What a request has beside its tensor's data: prefix, id, names, shape.
_ASIDE_BYTES: Final = 48
# The most of a batch of the client's, and of what it may hold back.
_QUEUE_KBYTES: Final = 64 * 1024


def columns(request_bytes: int) -> int:
    """Return how many FP32 make a request of about so many bytes."""
    return max(1, (request_bytes - _ASIDE_BYTES) // 4)


def requests(count: int, request_bytes: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield key and value of each request; the id is the key."""
    record, width = AvroRecord("PredictRequest"), columns(request_bytes)
    rest = bytes(4 * (width - 1))
    for number in range(count):
        name = request_id(number)
        data = struct.pack("<f", number) + rest
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, width], "data": data}
        yield name.encode(), record.encode({"id": name, "inputs": [tensor]})


def produce(bootstrap: str, topic: str, count: int, request_bytes: int) -> dict[str, Any]:
    """Produce all requests and return how many, and how large the last one was."""
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "enable.idempotence": True,
            "linger.ms": 20,
            "message.max.bytes": max(1_000_000, 2 * request_bytes),
            "queue.buffering.max.kbytes": _QUEUE_KBYTES,
        }
    )
    sent, size = send(producer, topic, requests(count, request_bytes), _TIMEOUT_S)
    return {"requests": sent, "request_bytes": size}


def collect(bootstrap: str, topic: str, count: int) -> dict[str, Any]:
    """Return the account by id of all results, and their rate after the first eleventh of them, 0 where none came.

    An answer must be the number of its request, as FP32 has it.
    """
    record = AvroRecord("PredictResult")
    answered: list[str] = []
    took_ms: list[int] = []
    errors = wrong = 0
    for message in read(bootstrap, topic):
        took_ms.append(message.timestamp()[1])
        result = record.decode(message.value())
        answered.append(result["id"])
        if result["error"] is not None:
            errors += 1
        else:
            expected = struct.pack("<f", number_of(result["id"]))
            wrong += result["outputs"][0]["data"] != expected
    warm_up = count // 11
    return {
        "account": accounting.account(map(request_id, range(count)), answered, errors, wrong),
        "records_per_s": figures.steady_rate(took_ms, warm_up) if len(took_ms) > max(1, warm_up) else 0.0,
    }


def main() -> None:
    """Do one of the two and print."""
    action, bootstrap, topic, *numbers = sys.argv[1:]
    count, *more = map(int, numbers)
    made: Any = produce(bootstrap, topic, count, *more) if action == "produce" else collect(bootstrap, topic, count)
    print(json.dumps(made))


if __name__ == "__main__":
    main()
