"""Live workers with a schema registry: clients of Confluent's own serialisers, and a registry that goes away.

The registry is a stand-in over HTTP; the serialisers and deserialisers are confluent-kafka's.
"""

from __future__ import annotations

import contextlib
import json
import signal
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Message, Producer
from confluent_kafka.schema_registry import SchemaRegistryClient, header_schema_id_serializer
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from pipeline.client import InputQueue, OutputQueue
from pipeline.client.queue import QueueOptions
from pipeline.codecs import confluent, schemas
from pipeline.errors import SchemaUnavailable
from pipeline.settings import RouteSettings
from tests.acceptance.conftest import Deploy
from tests.acceptance.reading import read
from tests.acceptance.workers import Deployment, wait_for
from tests.schema_registry.stand_in import StandIn

REQUEST, RESULT = schemas.text("PredictRequest"), schemas.text("PredictResult")
OTHER_TREE = json.loads(REQUEST)
OTHER_TREE["fields"].append({"name": "tenant", "type": "string", "default": ""})
OTHER = json.dumps(OTHER_TREE)
Encoded = tuple[bytes, list[tuple[str, bytes]]]


class Foreign:
    """A producer and a consumer that know nothing of Penstock but its schemas."""

    def __init__(self, stand_in: StandIn, route: RouteSettings, bootstrap: str) -> None:
        self._registry = SchemaRegistryClient({"url": stand_in.url})
        self._route, self._bootstrap = route, bootstrap
        self._producer = Producer({"bootstrap.servers": bootstrap})
        self._decode = AvroDeserializer(self._registry)
        self._serialisers: dict[tuple[str, bool], AvroSerializer] = {}

    def encode(self, id_: str, text: str = REQUEST, *, beside: bool = False, value: float = 2.0) -> Encoded:
        """Return one request in Confluent's framing, and its headers; the schema's name is before it, or ``beside``."""
        key = text, beside
        if key not in self._serialisers:
            conf: dict[str, Any] = {"schema.id.serializer": header_schema_id_serializer} if beside else {}
            self._serialisers[key] = AvroSerializer(self._registry, text, conf=conf)
        headers: list[tuple[str, bytes]] = []
        tensor = {"name": "x", "datatype": "FP32", "shape": [1, 1], "data": np.float32(value).tobytes()}
        request = {
            "id": id_, "servable": "", "version": None, "label": None, "signature": "", "deadline_ms": None,
            "inputs": [tensor], "parameters": {}, "tenant": "x",
        }  # fmt: skip
        context = SerializationContext(self._route.request_topic, MessageField.VALUE, headers)
        encoded = self._serialisers[key](request, context)
        assert encoded is not None
        return encoded, headers

    def send(self, *requests: Encoded) -> None:
        for value, headers in requests:
            self._producer.produce(self._route.request_topic, value, headers=headers)
        assert self._producer.flush(20) == 0

    def read(self, count: int) -> dict[str, dict[str, Any]]:
        """Return this many results, by id."""
        messages = read(self._bootstrap, self._route.result_topic, count)
        results = [self.decode(message) for message in messages]
        by_id = {result["id"]: result for result in results}
        assert len(by_id) == len(results) == count
        return by_id

    def decode(self, message: Message) -> dict[str, Any]:
        context = SerializationContext(self._route.result_topic, MessageField.VALUE, message.headers() or [])
        result = self._decode(message.value(), context)
        assert isinstance(result, dict)
        return result

    def close(self) -> None:
        self._registry.close()


def deployed(deploy: Deploy, stand_in: StandIn, framing_out: str = "confluent", **registry: Any) -> Deployment:
    it = deploy(
        schema_registry={"url": stand_in.url, "timeout_s": 2.0, "wait_s": 1.0, **registry},
        routes={"factor": {"framing_out": framing_out}},
    )
    it.drop("factor", 1, {"factor": b"10"})
    return it


def output(result: dict[str, Any]) -> float:
    assert result["error"] is None, result
    [tensor] = result["outputs"]
    return float(np.frombuffer(tensor["data"], np.float32)[0])


@pytest.mark.parametrize("framing_out", ["confluent", "confluent-header"])
def test_their_serialisers_are_answered_so_that_their_deserialisers_read_it(
    deploy: Deploy, stand_in: StandIn, framing_out: str
) -> None:
    it = deployed(deploy, stand_in, framing_out, auto_register=True)
    it.worker("one", "--watch").wait_until_ready()
    route = it.settings.routes["factor"]
    foreign = Foreign(stand_in, route, it.bootstrap)
    foreign.send(
        foreign.encode("before", value=2),
        foreign.encode("beside", beside=True, value=3),
        foreign.encode("another version", OTHER, value=4),
        foreign.encode("another version beside", OTHER, beside=True, value=5),
    )
    results = {id_: output(result) for id_, result in foreign.read(4).items()}
    assert results == {"before": 20, "beside": 30, "another version": 40, "another version beside": 50}
    schema_id = stand_in.register(f"{route.result_topic}-value", RESULT)
    for message in read(it.bootstrap, route.result_topic, 4):
        named = dict(message.headers() or []).get(confluent.HEADER)
        if framing_out == "confluent":
            assert (message.value()[:5], named) == (confluent.of_id(schema_id), None)
        else:
            assert named == confluent.of_guid(stand_in.guid(schema_id))
    foreign.close()


def test_a_registry_that_goes_away_stops_no_worker_and_loses_no_request(deploy: Deploy, stand_in: StandIn) -> None:
    it = deployed(deploy, stand_in, auto_register=True)
    route = it.settings.routes["factor"]
    worker = it.worker("one", "--watch").wait_until_ready()
    foreign = Foreign(stand_in, route, it.bootstrap)
    foreign.send(foreign.encode("first"))
    assert output(foreign.read(1)["first"]) == 20
    unknown = foreign.encode("unknown", OTHER)

    stand_in.stop()
    foreign.send((unknown[0], [("x-request-id", b"unknown")]))
    foreign.send(*(foreign.encode(f"known {number}") for number in range(50)))
    results = foreign.read(52)
    error = results.pop("unknown")["error"]
    assert (error["code"], error["retriable"]) == ("schema_unavailable", True)
    assert {output(result) for result in results.values()} == {20}
    [letter] = read(it.bootstrap, route.dead_letter_topic, 1)
    assert letter.value() == unknown[0]
    assert worker.get("/ready")[0] == 200
    assert worker.log.count("the schema registry does not answer") == 1

    stand_in.start()

    def is_answered() -> bool:
        it.run("dead-letters", "replay", "factor", "--yes")
        messages = read(it.bootstrap, route.result_topic, 53)
        return any(result["id"] == "unknown" and not result["error"] for result in map(foreign.decode, messages))

    wait_for("the letter's answer", is_answered)
    foreign.close()


def test_a_worker_that_starts_while_the_registry_is_away_leaves_the_requests_in_the_log(
    deploy: Deploy, stand_in: StandIn
) -> None:
    it = deployed(deploy, stand_in, auto_register=True)
    route = it.settings.routes["factor"]
    foreign = Foreign(stand_in, route, it.bootstrap)
    requests = [foreign.encode(str(number)) for number in range(5)]
    stand_in.stop()
    worker = it.worker("one", "--watch")
    foreign.send(*requests)
    wait_for("its reason", lambda: "no request is taken before the schema registry has answered" in worker.log)
    assert worker.get("/ready")[0] == 503
    stand_in.start()
    assert {output(result) for result in foreign.read(5).values()} == {20}
    assert not read(it.bootstrap, route.dead_letter_topic, 0, 0)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    foreign.close()


@pytest.mark.parametrize("framing", ["confluent", "confluent-header"])
def test_our_client_writes_and_reads_confluents_framing(deploy: Deploy, stand_in: StandIn, framing: str) -> None:
    it = deployed(deploy, stand_in, framing, auto_register=True)
    it.worker("one", "--watch").wait_until_ready()
    route = it.settings.routes["factor"]
    place: QueueOptions = {
        "bootstrap": it.bootstrap,
        "request_topic": route.request_topic,
        "result_topic": route.result_topic,
        "schema_registry": {"url": stand_in.url, "auto_register": True},
        "framing": framing,
    }
    x = np.array([[2.0]], np.float32)
    with InputQueue("factor", **place) as requests, OutputQueue("factor", **place) as results:
        assert requests.predict({"x": x}, timeout=20).tolist() == [[20.0]]
        requests.enqueue("mine", x=x * 2)
        assert results.query("mine", timeout=20).tolist() == [[40.0]]
    with OutputQueue("factor", group="readers", **place) as results:
        found: dict[str, Any] = {}
        wait_for("both results", lambda: found.update(results.dequeue(1.0)) or len(found) == 2)
        stand_in.stop()
    first = read(it.bootstrap, route.request_topic, 2)[0]
    headers = dict(first.headers() or [])
    assert confluent.name_before(first.value()) if framing == "confluent" else headers[confluent.HEADER]
    # A group that can not read a result now reads it later: nothing is committed past it.
    with OutputQueue(
        "factor", group="others", **{**place, "schema_registry": {"url": stand_in.url, "wait_s": 0.1}}
    ) as late:

        def refused() -> bool:
            try:
                return bool(late.dequeue(1.0)) and False
            except SchemaUnavailable:
                return True

        wait_for("its refusal", refused)
        stand_in.start()
        found.clear()

        def take() -> bool:
            with contextlib.suppress(SchemaUnavailable):
                found.update(late.dequeue(1.0))
            return len(found) == 2

        wait_for("both results", take)
    assert {float(value[0, 0]) for value in found.values()} == {20.0, 40.0}


def test_penstock_predict_reads_framed_results_and_check_says_what_is_missing(
    deploy: Deploy, stand_in: StandIn
) -> None:
    it = deployed(deploy, stand_in)
    route = it.settings.routes["factor"]
    checked = it.attempt("check", "--json")
    assert checked.returncode == 1
    by_what = {item["what"]: item for item in json.loads(checked.stdout)}
    missing = by_what[f"subject {route.result_topic}-value"]
    assert (by_what["schema registry"]["status"], missing["status"]) == ("ok", "problem")
    assert "schemas/PredictResult.avsc" in missing["next_step"]
    stand_in.register(f"{route.result_topic}-value", RESULT)
    assert "our PredictResult has id 1" in it.run("check").stdout
    it.worker("one", "--watch").wait_until_ready()
    answer = it.run("predict", "factor", '{"x": [[2.0]]}', "--json")
    assert list(json.loads(answer.stdout)["outputs"].values()) == [[[20.0]]]
    stand_in.stop()
    checked = it.attempt("check")
    assert checked.returncode == 1
    assert "schema registry" in checked.stdout
