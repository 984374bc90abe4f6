"""Records as clients of any language write them, to one live worker: each is answered as docs/protocol.md says."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.records import PredictRequest, PredictResult, Source
from pipeline.settings import RouteSettings
from pipeline.tensors import Tensor
from tests.acceptance.conftest import factor_model
from tests.acceptance.reading import lag
from tests.acceptance.workers import Deployment, wait_for

AVRO, JSON = AvroCodec(), V2JsonCodec()
BODY = json.dumps({"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [2]}]}).encode()
FAR_MS = 2**42  # the year 2109
Headers = list[tuple[str, bytes | None]]


class Live:
    """A deployment with one worker, what was written to it, and what it has answered, by the place of the request."""

    def __init__(self, deployment: Deployment) -> None:
        self.deployment = deployment
        self.routes = deployment.settings.routes
        self._places: list[Source] = []
        self.answers: dict[Source, list[tuple[PredictResult, Message]]] = {}
        self.letters: dict[Source, Message] = {}
        route = [topic for it in self.routes.values() for topic in (it.result_topic, it.dead_letter_topic)]
        self._consumer = Consumer({"bootstrap.servers": deployment.bootstrap, "group.id": "reader"})
        topics = self._consumer.list_topics(timeout=20).topics
        self._consumer.assign([TopicPartition(name, part, 0) for name in route for part in topics[name].partitions])

    def producer(self, **properties: Any) -> Producer:
        return Producer({"bootstrap.servers": self.deployment.bootstrap, **properties})

    def send(self, producer: Producer, value: bytes | None, *, route: str = "factor", **options: Any) -> None:
        def delivered(error: KafkaError | None, message: Message) -> None:
            assert error is None, error
            self._places.append(Source(message.topic(), message.partition(), message.offset()))

        producer.produce(self.routes[route].request_topic, value, on_delivery=delivered, **options)

    def sent(self, producer: Producer) -> list[Source]:
        """Return where the records lie that were sent since the last call."""
        assert producer.flush(20) == 0
        places, self._places = self._places, []
        return places

    def ask(self, value: bytes | None, **options: Any) -> tuple[PredictResult, Message]:
        """Send one record and return its one answer."""
        producer = self.producer()
        self.send(producer, value, **options)
        [answer] = self.answers_to(self.sent(producer))
        return answer

    def answers_to(self, places: list[Source]) -> list[tuple[PredictResult, Message]]:
        wait_for("answers", lambda: self._read() or all(place in self.answers for place in places))
        assert all(len(self.answers[place]) == 1 for place in places)
        return [self.answers[place][0] for place in places]

    def letter_of(self, place: Source) -> Message:
        found: Message = wait_for("a dead letter", lambda: self._read() or self.letters.get(place))
        return found

    def close(self) -> None:
        self._consumer.close()
        self.deployment.close()

    def _read(self) -> None:
        for message in self._consumer.consume(500, 0.1):
            assert message.error() is None
            headers = dict(message.headers() or [])
            if "kafka_dlt-original-topic" in headers:
                numbers = [
                    int.from_bytes(headers[f"kafka_dlt-original-{name}"], "big") for name in ("partition", "offset")
                ]
                self.letters[Source(headers["kafka_dlt-original-topic"].decode(), *numbers)] = message
                continue
            value = message.value()
            if headers.get("content-type", b"").startswith(b"application/cloudevents"):
                value = json.dumps(json.loads(value)["data"]).encode()
            result = (AVRO if AVRO.recognises(value) else JSON).decode_result(value)
            assert result.source is not None
            self.answers.setdefault(result.source, []).append((result, message))


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory, kafka: Any) -> Iterator[Live]:
    folder = tmp_path_factory.mktemp("foreign")
    (folder / "factor_model.py").write_text(factor_model())
    stream = {"base_path": "models/factor", "kind": "python", "options": {"class": "factor_model:Factor"}}
    it = Deployment(
        folder,
        kafka.bootstrap,
        {"servables": {"factor": stream}, "routes": {"factor": {}, "appended": {"servable": "factor"}}},
    )
    routes = it.settings.routes
    configure(kafka.bootstrap, routes["factor"], "message.timestamp.after.max.ms", str(2**62))
    configure(kafka.bootstrap, routes["appended"], "message.timestamp.type", "LogAppendTime")
    it.drop("factor", 1, {"factor": b"10"})
    it.worker("one", "--watch").wait_until_ready()
    found = Live(it)
    yield found
    found.close()


def configure(bootstrap: str, route: RouteSettings, name: str, value: str) -> None:
    entry = ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource("topic", route.request_topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": bootstrap})
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(20)


def is_good(result: PredictResult) -> bool:
    return result.error is None and result.outputs[0].array().tolist() == [[20.0]]


def code_of(result: PredictResult) -> str:
    return "" if result.error is None else result.error.code


@pytest.mark.parametrize("key", [None, b"", b"\xff\0key"], ids=["absent", "empty", "no text"])
def test_a_record_whose_key_is_no_text_is_answered_under_that_key_and_has_no_id(live: Live, key: bytes | None) -> None:
    result, message = live.ask(BODY, key=key)
    assert is_good(result)
    assert (result.id, message.key()) == ("", key)


def test_a_key_that_is_text_is_the_id_of_a_request_without_one(live: Live) -> None:
    result, message = live.ask(BODY, key="order 7")
    assert (is_good(result), result.id, message.key()) == (True, "order 7", b"order 7")


def test_headers_that_repeat_are_null_or_no_text_are_repeated_but_for_the_null_ones(live: Live) -> None:
    own: Headers = [("a", b"1"), ("a", b"\xff\xfe"), ("a", b"1"), ("é", b""), ("traceparent", b"00-aa-bb-01")]
    result, message = live.ask(BODY, headers=[*own, ("none", None), ("model", None), ("deadline-ms", None)])
    assert is_good(result)
    assert message.headers() == [*own, ("content-type", b"application/json")]


def test_a_record_without_headers_in_avro_has_a_result_without_headers(live: Live) -> None:
    value = AVRO.encode_request(PredictRequest("a", inputs=(Tensor("x", "FP32", (1, 1), b"\0\0\0\x40"),)))
    result, message = live.ask(value)
    assert (is_good(result), message.headers()) == (True, None)


@pytest.mark.parametrize("value", [None, b""], ids=["null", "empty"])
def test_a_record_without_a_value_is_answered_with_no_inputs_and_is_no_dead_letter(
    live: Live, value: bytes | None
) -> None:
    result, message = live.ask(value, key="k")
    assert (code_of(result), result.id, message.key()) == ("no_inputs", "k", b"k")
    assert result.source not in live.letters


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_every_compression_is_read(live: Live, codec: str) -> None:
    producer = live.producer(**{"compression.type": codec, "linger.ms": 50})
    rows = json.dumps({"inputs": [{"name": "x", "shape": [100, 1], "datatype": "FP32", "data": [2] * 100}]})
    for _ in range(20):
        live.send(producer, rows.encode(), partition=0)
    for result, _message in live.answers_to(live.sent(producer)):
        assert result.outputs[0].array().tolist() == [[20.0]] * 100


@pytest.mark.parametrize(
    ("timestamp_ms", "route"),
    [(-1, "factor"), (1, "factor"), (FAR_MS, "factor"), (1, "appended"), (FAR_MS, "appended")],
)
def test_a_timeout_is_kept_whatever_the_timestamp_says(live: Live, timestamp_ms: int, route: str) -> None:
    """Absent, long ago, far in the future; where the broker stamps records, the producer's word counts for nothing."""
    result, _ = live.ask(BODY, timestamp=timestamp_ms, route=route, headers=[("timeout-ms", b"60000")])
    is_late = (timestamp_ms, route) == (1, "factor")
    assert code_of(result) == ("deadline_exceeded" if is_late else "")
    late, _ = live.ask(BODY, timestamp=timestamp_ms, route=route, headers=[("deadline-ms", b"1")])
    assert code_of(late) == "deadline_exceeded"
    assert 0 <= result.queue_us < 60_000_000 or timestamp_ms == 1


def test_idempotent_and_transactional_records_are_answered_aborted_ones_are_not_and_no_lag_stays(live: Live) -> None:
    """Markers and aborted records fill offsets that no poll returns; the group goes past them all the same."""
    idempotent = live.producer(**{"enable.idempotence": True})
    live.send(idempotent, BODY)
    places = live.sent(idempotent)
    producer = live.producer(**{"transactional.id": f"foreign-{live.deployment.folder.name}"})
    producer.init_transactions(20)
    producer.begin_transaction()
    for partition in range(4):
        live.send(producer, BODY, partition=partition)
    places += live.sent(producer)
    producer.commit_transaction(20)
    producer.begin_transaction()
    for partition in range(4):
        live.send(producer, BODY, partition=partition)
    aborted = live.sent(producer)
    producer.abort_transaction(20)
    assert all(is_good(result) for result, _ in live.answers_to(places))
    wait_for("lag 0", lambda: lag(live.deployment.bootstrap, live.routes["factor"]) == 0, every_s=0.2)
    after, _ = live.ask(BODY)
    assert is_good(after)
    assert not live.answers.keys() & set(aborted)


def test_headers_too_large_to_repeat_are_an_error_that_repeats_the_small_ones(live: Live) -> None:
    producer = live.producer(**{"message.max.bytes": 4_000_000})
    live.send(producer, BODY, headers=[("huge", b"x" * 3_000_000), ("mine", b"1"), ("x-request-id", b"h")])
    [(result, message)] = live.answers_to(live.sent(producer))
    assert (code_of(result), result.id) == ("result_too_large", "h")
    headers = dict(message.headers() or [])
    assert "huge" not in headers
    assert headers["mine"] == b"1"
    as_large_as_fits, message = live.ask(BODY, headers=[("large", b"x" * 900_000)])
    assert is_good(as_large_as_fits)
    assert dict(message.headers() or [])["large"] == b"x" * 900_000


class Unreadable(str):
    """The name of a header that is written as bytes which are no UTF-8."""

    __slots__ = ()

    def encode(self, *_: Any) -> bytes:  # type: ignore[override]  # the caller's encoding is what this is about
        return b"\xff\xfe"


def test_a_header_whose_name_is_no_text_makes_its_record_a_dead_letter_and_stops_nothing(
    live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client can not read a single header of such a record: so its key alone identifies the request."""
    for module in ("message_accumulator", "producer"):  # the builder in C writes text only
        monkeypatch.setattr(f"aiokafka.producer.{module}.DefaultRecordBatchBuilder", _DefaultRecordBatchBuilderPy)

    async def produce() -> Source:
        topic = live.routes["factor"].request_topic
        async with AIOKafkaProducer(bootstrap_servers=live.deployment.bootstrap) as producer:
            headers = [(Unreadable("?"), b"1")]
            sent = await producer.send_and_wait(topic, BODY, b"k", headers=headers)
            return Source(topic, sent.partition, sent.offset)

    producer = live.producer()
    for _ in range(50):  # the interpreter's short cuts for calls that it has made before do not see the failure
        live.send(producer, BODY)
    live.answers_to(live.sent(producer))
    place = asyncio.run(produce())
    [(result, message)] = live.answers_to([place])
    assert (code_of(result), result.id, message.key()) == ("undecodable", "k", b"k")
    letter = live.letter_of(place)
    assert (letter.value(), letter.key()) == (BODY, b"k")
    assert is_good(live.ask(BODY)[0])


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (("reply_partition", b"99999999999"), "undecodable"),
        (("kafka_replyPartition", b"\0\0\x7f\xff"), "reply_refused"),
        (("kafka_replyPartition", b"99999999999"), "undecodable"),
        (("kafka_replyPartition", b"\xff\xff\xff\xff"), ""),
    ],
    ids=["huge", "32767", "no number", "any, as Spring writes it"],
)
def test_a_reply_partition_that_no_topic_has_is_an_error_on_one_that_it_has(
    live: Live, header: tuple[str, bytes], code: str
) -> None:
    result, _ = live.ask(BODY, headers=[header])
    assert code_of(result) == code


def test_events_are_answered_by_events_and_a_tombstone_by_one_that_says_it_has_no_inputs(live: Live) -> None:
    attributes = {"specversion": "1.0", "id": "e1", "source": "/shop", "type": "order", "partitionkey": "k"}
    headers = [(f"ce_{name}", text.encode()) for name, text in attributes.items()]
    answers = [
        live.ask(BODY, key="k", headers=[*headers, ("content-type", b"application/json")]),
        live.ask(None, key="k", headers=headers),
        live.ask(
            json.dumps({**attributes, "data": json.loads(BODY)}).encode(),
            key="k",
            headers=[("content-type", b"application/cloudevents+json; charset=UTF-8")],
        ),
    ]
    assert [code_of(result) for result, _ in answers] == ["", "no_inputs", ""]
    assert {(result.id, message.key()) for result, message in answers} == {("e1", b"k")}
    said = [dict(message.headers() or []) for _, message in answers]
    assert [it.get("ce_type") for it in said] == [b"penstock.result", b"penstock.error", None]
    event = json.loads(answers[2][1].value() or b"")
    assert (event["type"], event["causationid"], event["partitionkey"]) == ("penstock.result", "e1", "k")


def test_an_event_with_avro_data_in_base64_is_answered_alike(live: Live) -> None:
    value = AVRO.encode_request(PredictRequest("a", inputs=(Tensor("x", "FP32", (1, 1), b"\0\0\0\x40"),)))
    headers = [(f"ce_{name}", b"1.0") for name in ("specversion", "id", "source", "type")]
    result, message = live.ask(value, headers=headers)
    assert is_good(result)
    assert dict(message.headers() or [])["content-type"] == b"application/avro"
    assert base64.b64encode(message.value() or b"")  # bytes as they are, no JSON around them
