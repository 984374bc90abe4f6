"""The rival: the loop that an expert writes by hand with confluent-kafka, fastavro and OpenVINO, at-least-once.

It imports nothing of ours. Its guarantee is that of our worker: no offset is committed before the broker has accepted
the results. What it leaves out, because nobody asked for it: other formats, versions, labels, deadlines, error results,
headers, several inputs, several models, a rebalance while a batch is in flight, and in a result the source, the digest
and the times.

Its settings are the best of those tried (docs/performance.md): poll for the first record, then take what is there, 8000
at most; librdkafka's own linger of 5 ms, which a flush cuts short, fills its requests to the broker.
"""

from __future__ import annotations

import io
import json
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from confluent_kafka import Consumer, Producer

    from benchmarks.place import Place

    Floats = np.ndarray[Any, np.dtype[np.float32]]

NAME = "hand_written"
DESCRIPTION = "confluent-kafka + fastavro + OpenVINO by hand: batches, flush, synchronous commit"
BATCH_SIZE = 8000


def command(place: Place) -> list[str | Path]:
    """Return the command that runs this file."""
    from benchmarks import model  # noqa: PLC0415  # for the harness only: the loop itself imports nothing of ours

    settings = {
        "bootstrap": place.bootstrap,
        "group": place.group,
        "requests": place.requests,
        "results": place.results,
        "model": str(place.models / "1" / "model.xml"),
        "openvino": model.OPENVINO,
        "schemas": str(Path(__file__).parent.parent.parent / "schemas"),
        "batch_size": BATCH_SIZE,
    }
    return [sys.executable, Path(__file__), json.dumps(settings)]


def load_model(path: str, properties: dict[str, Any]) -> Callable[[Floats], Floats]:
    """Return rows -> logits on the CPU."""
    import openvino  # noqa: PLC0415  # the harness reads this module's names without it

    request = openvino.Core().compile_model(path, "CPU", properties).create_infer_request()

    def predict(rows: Floats) -> Floats:
        # Shared with OpenVINO, not copied: the outputs are used up before the next call.
        outputs: Floats = request.infer([rows], share_inputs=True, share_outputs=True)[0]
        return outputs

    return predict


class Codec:
    """The two records by fastavro, in single-object framing."""

    def __init__(self, schemas: Path) -> None:
        import avro.schema  # noqa: PLC0415  # likewise
        import fastavro  # noqa: PLC0415  # likewise

        texts = [(schemas / f"{name}.avsc").read_text("utf-8") for name in ("PredictRequest", "PredictResult")]
        self._request, self._result = (fastavro.parse_schema(json.loads(text)) for text in texts)
        self._prefix = b"\xc3\x01" + bytes(avro.schema.parse(texts[1]).fingerprint("CRC-64-AVRO"))
        self._read: Any = fastavro.schemaless_reader
        self._write: Any = fastavro.schemaless_writer

    def decode(self, value: bytes | None) -> tuple[str, bytes]:
        """Return id and data of a single-row request."""
        buffer = io.BytesIO(value or b"")
        buffer.seek(10)
        request = self._read(buffer, self._request, None)
        return request["id"], request["inputs"][0]["data"]

    def encode(self, id_: str, data: bytes) -> bytes:
        """Return the result of one row of logits."""
        buffer = io.BytesIO()
        buffer.write(self._prefix)
        output = {"name": "logits", "datatype": "FP32", "shape": [1, 10], "data": data}
        self._write(buffer, self._result, {"id": id_, "servable": "mlp", "version": 1, "outputs": [output]})
        return buffer.getvalue()


def serve(
    consumer: Consumer,
    producer: Producer,
    settings: dict[str, Any],
    codec: Codec,
    predict: Callable[[Floats], Floats],
) -> None:
    """Answer requests until SIGTERM."""
    stopped: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stopped.append(number))
    batch_size, topic = settings["batch_size"], settings["results"]
    while not stopped:
        first = consumer.poll(0.2)
        if first is None:
            continue
        messages = [first, *consumer.consume(batch_size - 1, 0)]
        requests = [codec.decode(message.value()) for message in messages]
        rows = np.frombuffer(b"".join([data for _, data in requests]), "<f4").reshape(-1, 64)
        data = predict(rows).tobytes()
        for number, (message, (id_, _)) in enumerate(zip(messages, requests, strict=True)):
            value = codec.encode(id_, data[40 * number : 40 * number + 40])
            producer.produce(topic, value, message.key(), message.partition() or 0)
        if producer.flush(60):
            sys.exit("the broker did not accept the results")
        consumer.commit(asynchronous=False)
    consumer.close()


def main() -> None:
    """Read the settings, load, subscribe, serve."""
    from confluent_kafka import Consumer, Producer  # noqa: PLC0415  # likewise

    settings = json.loads(sys.argv[1])
    predict = load_model(settings["model"], settings["openvino"])
    bootstrap = {"bootstrap.servers": settings["bootstrap"]}
    group = {"group.id": settings["group"], "auto.offset.reset": "earliest", "enable.auto.commit": False}
    consumer = Consumer({**bootstrap, **group})
    producer = Producer({**bootstrap, "enable.idempotence": True})
    consumer.subscribe([settings["requests"]])
    serve(consumer, producer, settings, Codec(Path(settings["schemas"])), predict)


if __name__ == "__main__":
    main()
