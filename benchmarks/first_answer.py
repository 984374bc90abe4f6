"""A client that is just started and asks once, a process of its own.

``python -m benchmarks.first_answer KIND BOOTSTRAP REQUESTS RESULTS STARTED_S`` prints the seconds from STARTED_S, since
the Unix epoch, to the answer: the interpreter, the imports, the connection and the question. KIND ``penstock`` is
``InputQueue.predict``; KIND ``hand_written`` is confluent-kafka and fastavro alone.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Final

_TIMEOUT_S: Final = 60.0
_ID: Final = "first-answer"


def penstock(bootstrap: str, requests: str, results: str) -> float:
    """Ask by ``InputQueue.predict``; return when the answer was there, in seconds since the Unix epoch."""
    import numpy as np  # noqa: PLC0415  # each pays for what it imports

    from pipeline.client import InputQueue  # noqa: PLC0415  # likewise

    with InputQueue("mlp", bootstrap=bootstrap, request_topic=requests, result_topic=results) as queue:
        queue.predict({"x": np.ones((1, 64), np.float32)}, timeout=_TIMEOUT_S)
        return time.time()


def hand_written(bootstrap: str, requests: str, results: str) -> float:
    """Ask by a bare producer and consumer; as ``penstock``. TimeoutError without an answer."""
    import numpy as np  # noqa: PLC0415  # likewise
    from confluent_kafka import Consumer, Producer, TopicPartition  # noqa: PLC0415  # likewise

    from benchmarks.avro_records import AvroRecord  # noqa: PLC0415  # likewise

    request, result = AvroRecord("PredictRequest"), AvroRecord("PredictResult")
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "first-answer", "enable.auto.commit": False})
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 0})
    partitions = [
        TopicPartition(results, number) for number in consumer.list_topics(results).topics[results].partitions
    ]
    for partition in partitions:
        partition.offset = consumer.get_watermark_offsets(partition)[1]
    consumer.assign(partitions)
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 64], "data": np.ones(64, np.float32).tobytes()}
    producer.produce(requests, request.encode({"id": _ID, "inputs": [tensor]}), _ID)
    deadline_s = time.monotonic() + _TIMEOUT_S
    while time.monotonic() < deadline_s:
        producer.poll(0)
        message = consumer.poll(0.1)
        if message is not None and message.error() is None and result.decode(message.value())["id"] == _ID:
            answered_s = time.time()
            consumer.close()
            return answered_s
    raise TimeoutError(f"no answer in {_TIMEOUT_S:g} s")


if __name__ == "__main__":
    ask = {"penstock": penstock, "hand_written": hand_written}[sys.argv[1]]
    print(json.dumps({"seconds": ask(*sys.argv[2:5]) - float(sys.argv[5])}))
