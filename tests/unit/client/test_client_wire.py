"""How the client writes requests and reads results where a schema registry is set."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from pipeline.client.address import Address
from pipeline.client.wire import Wire
from pipeline.codecs import confluent, schemas
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.cluster_serving import results
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.errors import ConnectorError, SchemaUnavailable, Undecodable
from pipeline.records import Error, PredictRequest, PredictResult
from pipeline.tensors import from_array
from tests.schema_registry.stand_in import StandIn

REQUEST = PredictRequest("a", inputs=(from_array("x", np.ones(2, np.float32)),))
RESULT = PredictResult("a", "digits", 3)
BODY = AvroCodec().encode_result(RESULT)[schemas.PREFIX_BYTES :]


def wire(stand_in: StandIn | None, framing: str = "single-object", **settings: Any) -> Wire:
    registry = {"url": stand_in.url, "wait_s": 0.2, **settings} if stand_in else {}
    return Wire(Address.of("digits", "", {}, schema_registry=registry, framing=framing))


@pytest.mark.parametrize("framing", ["confluent", "confluent-header"])
def test_requests_are_framed_by_the_name_that_their_subject_has(stand_in: StandIn, framing: str) -> None:
    schema_id = stand_in.register("digits.requests-value", schemas.text("PredictRequest"))
    it = wire(stand_in, framing)
    it.open(10)
    value, headers = it.write("avro", REQUEST)
    body = AvroCodec().encode_request(REQUEST)[schemas.PREFIX_BYTES :]
    if framing == "confluent":
        assert (value, headers) == (confluent.of_id(schema_id) + body, [("content-type", b"application/avro")])
    else:
        assert value == body
        assert dict(headers)[confluent.HEADER] == confluent.of_guid(stand_in.guid(schema_id))
    value, headers = it.write("json", REQUEST)
    assert (value, headers) == (V2JsonCodec().encode_request(REQUEST), [("content-type", b"application/json")])
    it.close()


def test_a_registry_that_does_not_answer_in_the_callers_time_is_an_error(stand_in: StandIn) -> None:
    is_over = threading.Event()

    def hang(_method: str, _path: str) -> None:
        is_over.wait(20)

    stand_in.fault = hang
    it = wire(stand_in, "confluent", auto_register=True)
    with pytest.raises(ConnectorError, match="no answer within"):
        it.open(0.05)
    stand_in.fault = lambda _method, _path: None
    is_over.set()
    it.open(10)
    it.close()


def test_a_subject_without_our_schema_says_what_to_do(stand_in: StandIn) -> None:
    it = wire(stand_in, "confluent")
    with pytest.raises(ConnectorError, match="auto_register"):
        it.open(10)
    it.close()


def test_results_in_every_framing_are_read_and_the_registry_asked_once(stand_in: StandIn) -> None:
    schema_id = stand_in.register("digits.results-value", schemas.text("PredictResult"))
    guid = confluent.of_guid(stand_in.guid(schema_id))
    it = wire(stand_in)
    for _ in range(3):
        assert it.read(confluent.of_id(schema_id) + BODY, ()) == RESULT
        assert it.read(BODY, [("mine", b"1"), (confluent.HEADER, guid)]) == RESULT
        assert it.read(AvroCodec().encode_result(RESULT), ()) == RESULT
        assert it.read(V2JsonCodec().encode_result(RESULT), ()).id == "a"
    assert stand_in.asked.total() <= 2  # their client may have learnt the GUID with the id
    with pytest.raises(Undecodable, match="not in the registry"):
        it.read(confluent.of_id(77) + BODY, ())
    stand_in.stop()
    assert it.read(confluent.of_id(schema_id) + BODY, ()) == RESULT
    with pytest.raises(SchemaUnavailable, match="id 78"):
        it.read(confluent.of_id(78) + BODY, ())
    it.close()


def test_without_a_registry_the_error_says_what_is_missing() -> None:
    it = wire(None)
    it.open(0)
    with pytest.raises(Undecodable, match=r"schema_registry\.url"):
        it.read(confluent.of_id(1) + BODY, ())
    it.close()


def test_a_result_of_cluster_serving_is_known_by_its_content_type() -> None:
    it, named = wire(None), ("content-type", b"cluster-serving")
    value = results.write([("y", np.float32([1, 2]))])
    assert it.read(value, [named]).outputs[0].array().tolist() == [1, 2]
    failed = it.read(b"NaN", [named, ("error", b"not now"), ("error-code", b"not_ready")])
    assert failed.error == Error("not_ready", "not now", retriable=True)
    of_array = it.read(value, [named, ("error-code", b"something_new")])
    assert of_array.error == Error("something_new", "", retriable=False)
    with pytest.raises(Undecodable):
        it.read(value, [])
