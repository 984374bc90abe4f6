"""Workers of some lines, one for each broker, that answer the client as the contract says."""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field

import redis as redis_py
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from pipeline import redis_wire
from pipeline.clock import SystemClock
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.codec import Limits
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.connector import Answer
from pipeline.records import Error, PredictResult
from pipeline.serving.headers import HeaderTable
from pipeline.settings import HeaderNames

CODECS = (AvroCodec(), V2JsonCodec())
HEADERS = HeaderTable(HeaderNames(), SystemClock())


@dataclass
class EchoWorker:
    """Answers with the inputs; ``fail``, ``ignore`` and ``twice`` are tensor names with a meaning."""

    address: str
    route: str
    stopping: threading.Event = field(default_factory=threading.Event)
    seen: list = field(default_factory=list)

    def results(self, value: bytes, key: bytes | None, headers: list) -> list[bytes]:
        """Return the results of one request, none or two where it asks for that."""
        codec = next(codec for codec in CODECS if codec.recognises(value))
        request = codec.decode_request(value, Limits())
        self.seen.append((request, key, headers))
        names = {tensor.name for tensor in request.inputs}
        if "ignore" in names:
            return []
        result = PredictResult(request.id, request.servable or "echo", request.version or 1, request.inputs)
        if "fail" in names:
            result = PredictResult(request.id, "echo", error=Error("model_error", "it broke", retriable=False))
        if "anonymous" in names:
            result = PredictResult("", "echo", error=Error("undecodable", "no id", retriable=False))
        return [codec.encode_result(result)] * (2 if "twice" in names else 1)


class KafkaEcho(EchoWorker):
    def prepare(self) -> None:
        admin = AdminClient({"bootstrap.servers": self.address})
        topics = [NewTopic(f"{self.route}.requests", 2, 1), NewTopic(f"{self.route}.results", 4, 1)]
        for made in admin.create_topics(topics).values():
            made.result(20)

    def run(self) -> None:
        consumer = Consumer(
            {
                "bootstrap.servers": self.address,
                "group.id": self.route,
                "auto.offset.reset": "earliest",
                "log_level": 0,
            }
        )
        self.producer = Producer({"bootstrap.servers": self.address, "log_level": 0})
        consumer.subscribe([f"{self.route}.requests"])
        while not self.stopping.is_set():
            message = consumer.poll(0.05)
            if message is None or message.error() is not None:
                continue
            headers = message.headers() or []
            envelope = HEADERS.read(headers)
            partition = envelope.reply_partition
            for result in self.results(message.value(), message.key(), headers):
                self.producer.produce(
                    f"{self.route}.results",
                    result,
                    message.key(),
                    -1 if partition is None else partition,
                    headers=list(envelope.echoed),
                )
            self.producer.poll(0)
        consumer.close()
        self.producer.flush(5)


class RedisEcho(EchoWorker):
    """Its results stand in a stream as well, for groups."""

    def prepare(self) -> None:
        """Nothing has to be there."""

    def run(self) -> None:
        client, requests = redis_py.Redis.from_url(self.address), f"{self.route}.requests"
        with contextlib.suppress(redis_py.ResponseError):  # another one was here before
            client.xgroup_create(requests, "workers", "0", mkstream=True)
        while not self.stopping.is_set():
            found = client.xreadgroup("workers", "echo", {requests: ">"}, 100, 50)
            for entry_id, fields in found[0][1] if found else ():
                value, key, headers, _ = redis_wire.read([word for item in fields.items() for word in item])
                envelope = HEADERS.read(headers)
                for result in self.results(value, key, headers):
                    answer = {b"value": result, b"key": key or entry_id, **dict(envelope.echoed)}
                    client.xadd(f"{self.route}.results", answer)
                    if envelope.reply_topic:
                        client.xadd(envelope.reply_topic, answer, nomkstream=True)
                client.xack(requests, "workers", entry_id)
        client.close()


@contextlib.contextmanager
def echoing(url, route):
    """Have a worker answer on a Redis."""
    worker = RedisEcho(url, route)
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.stopping.set()
        thread.join(10)


def echo_answer(record):
    """Return the answer of such a worker to a record of a connector."""
    [result] = EchoWorker("", "").results(record.value, record.key, list(record.headers))
    envelope = HEADERS.read(record.headers)
    return Answer(result, record.key, envelope.echoed, envelope.reply_topic)
