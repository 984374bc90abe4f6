"""Avro in Confluent's framing: the same bodies behind another prefix, or behind none, read by the same code."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import avro.io
import avro.schema
import numpy as np
import pytest
from hypothesis import given, strategies as st

from pipeline.codecs import avro_codec, confluent, schemas
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.avro_framing import AvroFraming
from pipeline.codecs.codec import Limits
from pipeline.codecs.confluent import WriterSchema
from pipeline.errors import BadRequest, RecordTooLarge, SchemaUnavailable, TooManyTensors, Undecodable
from pipeline.records import PredictRequest, PredictResult
from pipeline.schema_registry.normal_form import writer_schema
from pipeline.tensors import from_array
from pipeline.testing.strategies import REQUESTS, RESULTS

LIMITS = Limits()
GUID = "6a0f9aef-4f34-4bd3-9c3a-0b1f6f1f9d11"
REQUEST_NAMES = (confluent.of_id(1), confluent.of_guid(GUID))
RESULT_NAME, OLDER, ORDER, RECURSIVE = (confluent.of_id(number) for number in (2, 3, 4, 5))
ONE = PredictRequest("one", inputs=(from_array("x", np.ones((2, 3), np.float32)),))


def older_schema() -> dict[str, Any]:
    tree: dict[str, Any] = json.loads(schemas.text("PredictRequest"))
    tree["fields"] = [field for field in tree["fields"] if field["name"] != "parameters"]
    return tree


class Known:
    """See WriterSchemas; knows a few."""

    def __init__(self) -> None:
        request, result = (writer_schema(schemas.text(name)) for name in ("PredictRequest", "PredictResult"))
        order = '{"type": "record", "name": "Order", "fields": [{"name": "x", "type": "int"}]}'
        chain = {"type": "record", "name": "Chain", "fields": [{"name": "next", "type": ["null", "Chain"]}]}
        longer = older_schema()
        longer["fields"].append({"name": "chain", "type": chain})
        self.by_name: dict[bytes, WriterSchema] = {
            **dict.fromkeys(REQUEST_NAMES, request),
            RESULT_NAME: result,
            OLDER: writer_schema(json.dumps(older_schema())),
            ORDER: writer_schema(order),
            RECURSIVE: writer_schema(json.dumps(longer)),
        }

    def find(self, name: bytes) -> WriterSchema:
        if name not in self.by_name:
            raise SchemaUnavailable(confluent.text(name), name, "not asked for yet")
        return self.by_name[name]


CODEC = AvroCodec(schemas_by_name=Known())


def body_of(request: PredictRequest) -> bytes:
    return AvroCodec().encode_request(request)[schemas.PREFIX_BYTES :]


@given(st.lists(REQUESTS, min_size=1, max_size=3))
def test_a_request_is_the_same_behind_every_name_and_beside_one(requests: Sequence[PredictRequest]) -> None:
    for request in [*requests, *requests]:
        body = body_of(request)
        for name in REQUEST_NAMES:
            assert CODEC.decode_request(name + body, LIMITS) == request
            assert CODEC.decode_request_of(name, body, LIMITS) == request
        assert CODEC.decode_request(AvroCodec().encode_request(request), LIMITS) == request


@given(RESULTS)
def test_a_result_is_the_same_behind_a_name_and_beside_one(result: PredictResult) -> None:
    body = AvroCodec().encode_result(result)[schemas.PREFIX_BYTES :]
    assert CODEC.decode_result(RESULT_NAME + body) == result
    assert CODEC.decode_result_of(RESULT_NAME, body) == result


def test_our_own_schema_is_read_by_hand_whatever_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(avro_codec.schemas, "resolve", None)  # Apache Avro's way, which costs thirty times as much
    for name in REQUEST_NAMES:
        assert CODEC.decode_request(name + body_of(ONE), LIMITS) == ONE
        assert CODEC.decode_request_of(name, body_of(ONE), LIMITS) == ONE


def test_another_version_of_the_schema_is_resolved() -> None:
    datum = {
        "id": "old", "servable": "", "version": None, "label": None, "signature": "", "deadline_ms": None,
        "inputs": [{"name": "x", "datatype": "INT64", "shape": [1], "data": bytes(8)}],
    }  # fmt: skip
    buffer = io.BytesIO()
    writer = avro.schema.parse(json.dumps(older_schema()))
    avro.io.DatumWriter(writer).write(datum, avro.io.BinaryEncoder(buffer))
    for request in (
        CODEC.decode_request(OLDER + buffer.getvalue(), LIMITS),
        CODEC.decode_request_of(OLDER, buffer.getvalue(), LIMITS),
    ):
        assert (request.id, request.inputs[0].shape) == ("old", (1,))
    with pytest.raises(Undecodable, match="follow"):
        CODEC.decode_request(OLDER + buffer.getvalue() + b"x", LIMITS)
    with pytest.raises(Undecodable, match="Recursion"):  # however deep a field is that we do not read
        CODEC.decode_request(RECURSIVE + buffer.getvalue() + b"\2" * 100_000, LIMITS)


def test_a_record_of_another_kind_says_what_it_is() -> None:
    with pytest.raises(Undecodable, match=r"written as penstock\.Order"):
        CODEC.decode_request(ORDER + b"\2", LIMITS)
    with pytest.raises(Undecodable, match="PredictRequest"):
        CODEC.decode_result(REQUEST_NAMES[0] + body_of(ONE))


def test_a_name_that_is_not_known_yet_is_no_fault_of_the_request() -> None:
    with pytest.raises(SchemaUnavailable, match="id 77") as caught:
        CODEC.decode_request(confluent.of_id(77) + b"x", LIMITS)
    assert caught.value.name == confluent.of_id(77)
    assert caught.value.retriable


def test_limits_hold_behind_every_name() -> None:
    for name in REQUEST_NAMES:
        value = name + body_of(ONE)
        with pytest.raises(RecordTooLarge):
            CODEC.decode_request(value, Limits(max_record_bytes=len(value) - 1))
        with pytest.raises(RecordTooLarge):
            CODEC.decode_request_of(name, body_of(ONE), Limits(max_record_bytes=len(body_of(ONE)) - 1))
        with pytest.raises(TooManyTensors):
            CODEC.decode_request(name + body_of(PredictRequest("a", inputs=ONE.inputs * 3)), Limits(max_tensors=2))


@given(st.sampled_from([*REQUEST_NAMES, OLDER, ORDER, RECURSIVE, b"\0\0", b"\1\1"]), st.binary(max_size=60))
def test_any_bytes_at_all_are_a_request_or_refused(name: bytes, rest: bytes) -> None:
    for read in (
        lambda: CODEC.decode_request(name + rest, LIMITS),
        lambda: CODEC.decode_request_of(name, rest, LIMITS),
    ):
        try:
            read()
        except (BadRequest, SchemaUnavailable):
            pass


def test_without_a_registry_its_framing_is_not_claimed_and_says_what_is_missing() -> None:
    codec = AvroCodec()
    assert not codec.recognises(REQUEST_NAMES[0])
    assert all(map(CODEC.recognises, (*REQUEST_NAMES, AvroCodec().encode_request(ONE))))
    with pytest.raises(Undecodable, match=r"schema_registry\.url"):
        codec.decode_request(REQUEST_NAMES[0] + body_of(ONE), LIMITS)


@given(REQUESTS, RESULTS)
def test_what_goes_out_is_framed_as_it_is_set(request: PredictRequest, result: PredictResult) -> None:
    prefixed, beside = AvroFraming("confluent"), AvroFraming("confluent-header")
    prefixed.learn(RESULT_NAME)
    beside.learn(b"", ((confluent.HEADER, REQUEST_NAMES[1]),))
    plain = AvroCodec()
    codec = AvroCodec(requests=beside, results=prefixed)
    assert plain.frame_result(result) == (plain.encode_result(result), ())
    body = plain.encode_result(result)[schemas.PREFIX_BYTES :]
    assert codec.frame_result(result) == (RESULT_NAME + body, ()) == (codec.encode_result(result), ())
    assert codec.frame_request(request) == (body_of(request), beside.headers)
    # Where there is no room for a header, the bytes tell themselves.
    assert codec.encode_request(request) == plain.encode_request(request)
