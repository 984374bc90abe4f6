"""The data path with a schema registry: by prefix and by header, late where the schema is not known, framed as set."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable

import numpy as np
import pytest

from pipeline.codecs import confluent, schemas
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.avro_framing import AvroFraming
from pipeline.codecs.codec import Limits
from pipeline.codecs.confluent import WriterSchema
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.connector import Answer, Record
from pipeline.errors import SchemaUnavailable, Undecodable
from pipeline.records import PredictRequest, PredictResult
from pipeline.registry.servable import ServableId
from pipeline.serving.dispatcher import Dispatcher
from pipeline.settings import RouteSettings
from pipeline.tensors import from_array
from pipeline.testing.fakes import AddingServable, FakeClock, manager_with

CLOCK, LIMITS = FakeClock(), Limits()
GUID = "6a0f9aef-4f34-4bd3-9c3a-0b1f6f1f9d11"
BY_ID, BY_GUID, GONE, RESULT_ID = confluent.of_id(1), confluent.of_guid(GUID), confluent.of_id(404), confluent.of_id(9)
PLAIN = AvroCodec()
Headers = Iterable[tuple[str, bytes | None]]


class Registry:
    """Knows what it is let know, and then all of it once it was asked."""

    def __init__(self, *known: bytes) -> None:
        own = WriterSchema(schemas.prefix("PredictRequest"), schemas.schema("PredictRequest"))
        self._all = {BY_ID: own, BY_GUID: own}
        self._known = set(known)
        self.fetched: list[set[bytes]] = []
        self.is_away = False

    def find(self, name: bytes) -> WriterSchema:
        if name in self._known and name in self._all:
            return self._all[name]
        if name in self._known:
            raise Undecodable(f"{confluent.text(name)} is not in the registry")
        raise SchemaUnavailable(confluent.text(name), name, "no answer")

    def fetch(self, names: set[bytes]) -> None:
        self.fetched.append(names)
        if not self.is_away:
            self._known |= names


def dispatcher(registry: Registry | None, framing: AvroFraming | None = None) -> Dispatcher:
    route = RouteSettings(servable="adder", request_topic="q", result_topic="r")
    manager = manager_with({ServableId("adder", 3): AddingServable()}, CLOCK)
    avro = AvroCodec(schemas_by_name=registry, results=framing)
    return Dispatcher(route, manager, [avro, V2JsonCodec()], CLOCK, fetch=None if registry is None else registry.fetch)


def body(id_: str = "a") -> bytes:
    request = PredictRequest(id_, inputs=(from_array("x", np.ones((1, 2), np.float32)),))
    return PLAIN.encode_request(request)[schemas.PREFIX_BYTES :]


def record(value: bytes, headers: Headers = (), offset: int = 0) -> Record:
    return Record(value, b"key", list(headers), "q", 0, offset, 0)


def answers(it: Dispatcher, *records: Record) -> list[Answer]:
    batch = it.decode(records)
    it.decode_late(batch)
    return it.answer(batch)


def result_of(answer: Answer) -> PredictResult:
    return PLAIN.decode_result(answer.value)


@pytest.mark.parametrize("name", [BY_ID, BY_GUID])
@pytest.mark.parametrize("content_type", [(), (("content-type", b"application/avro"),)])
def test_a_request_is_answered_whether_a_prefix_or_a_header_names_its_schema(
    name: bytes, content_type: Headers
) -> None:
    it = dispatcher(Registry(BY_ID, BY_GUID))
    before, beside = answers(
        it,
        record(name + body("before"), content_type),
        record(body("beside"), [(confluent.HEADER, name), *content_type]),
    )
    for answer, id_ in ((before, "before"), (beside, "beside")):
        assert (result_of(answer).id, result_of(answer).error) == (id_, None)
        assert confluent.HEADER not in dict(answer.headers)


def test_what_is_known_is_answered_without_the_registry_being_asked() -> None:
    registry = Registry(BY_ID)
    registry.is_away = True
    [answer] = answers(dispatcher(registry), record(BY_ID + body()))
    assert result_of(answer).error is None
    assert not registry.fetched


def test_schemas_that_are_not_known_are_asked_for_once_a_batch_and_not_where_the_batch_is_polled() -> None:
    registry = Registry()
    it = dispatcher(registry)
    batch = it.decode([record(BY_ID + body(str(n)), offset=n) for n in range(50)])
    assert not registry.fetched
    it.decode_late(batch)
    assert registry.fetched == [{BY_ID}]
    assert [result_of(answer).id for answer in it.answer(batch)] == [str(n) for n in range(50)]
    it.decode_late(batch)
    assert len(registry.fetched) == 1


def test_a_registry_that_is_away_costs_only_those_that_need_it_an_error_and_keeps_them() -> None:
    registry = Registry(BY_ID)
    registry.is_away = True
    known, unknown, single = answers(
        dispatcher(registry),
        record(BY_ID + body("known")),
        record(BY_GUID + body("unknown"), [("x-request-id", b"its-id")], 1),
        record(schemas.prefix("PredictRequest") + body("single"), offset=2),
    )
    assert result_of(known).error is None
    assert result_of(single).error is None
    error = result_of(unknown).error
    assert error is not None
    assert (error.code, error.retriable, result_of(unknown).id) == ("schema_unavailable", True, "its-id")
    assert unknown.dead_letter is not None


def test_a_schema_that_the_registry_does_not_have_is_one_error_and_one_dead_letter() -> None:
    bad, good = answers(dispatcher(Registry()), record(GONE + body()), record(BY_ID + body("good"), offset=1))
    error = result_of(bad).error
    assert error is not None
    assert (error.code, error.retriable) == ("undecodable", False)
    assert "id 404 is not in the registry" in error.message
    assert bad.dead_letter is not None
    assert result_of(good).error is None


def test_a_header_that_is_no_name_is_refused_and_one_on_another_format_means_nothing() -> None:
    json_body = b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}'
    bad, single, of_json, empty = answers(
        dispatcher(Registry()),
        record(body(), [(confluent.HEADER, b"7")]),
        record(schemas.prefix("PredictRequest") + body(), [(confluent.HEADER, BY_GUID)], 1),
        record(json_body, [(confluent.HEADER, BY_GUID), ("content-type", b"application/json")], 2),
        record(b"", [(confluent.HEADER, BY_GUID)], 3),
    )
    assert result_of(bad).error is not None
    assert result_of(single).error is None
    assert V2JsonCodec().decode_result(of_json.value).error is None
    error = result_of(empty).error
    assert error is not None
    assert error.code == "no_inputs"


def test_without_a_registry_the_error_says_what_to_set() -> None:
    [answer] = answers(dispatcher(None), record(BY_ID + body()))
    error = result_of(answer).error
    assert error is not None
    assert (error.code, "schema_registry.url" in error.message) == ("undecodable", True)


def framing(kind: str) -> AvroFraming:
    it = AvroFraming(kind)
    if kind == "confluent":
        it.learn(RESULT_ID)
    elif kind == "confluent-header":
        it.learn(b"", ((confluent.HEADER, BY_GUID),))
    return it


def read(kind: str, answer: Answer) -> PredictResult:
    """Read a result in the framing that it must have, by hand."""
    prefix = schemas.prefix("PredictResult")
    if kind == "confluent":
        assert answer.value.startswith(RESULT_ID)
        assert confluent.HEADER not in dict(answer.headers)
        return PLAIN.decode_result(prefix + answer.value[len(RESULT_ID) :])
    if kind == "confluent-header":
        assert dict(answer.headers)[confluent.HEADER] == BY_GUID
        return PLAIN.decode_result(prefix + answer.value)
    return PLAIN.decode_result(answer.value)


@pytest.mark.parametrize("kind", ["single-object", "confluent", "confluent-header"])
def test_results_and_errors_are_framed_as_the_route_says_however_the_request_came(kind: str) -> None:
    it = dispatcher(Registry(BY_ID, BY_GUID, GONE), framing(kind))
    own = [("mine", b"1")]
    for request in (
        record(BY_ID + body()),
        record(body(), [(confluent.HEADER, BY_GUID), *own]),
        record(schemas.prefix("PredictRequest") + body(), [("content-type", b"application/avro"), *own]),
        record(GONE + body(), own),
        record(b"no request"),
    ):
        [answer] = answers(it, request)
        result = read(kind, answer)
        assert (result.error is None) == (request.value[:5] != GONE and request.value != b"no request")
        assert not request.headers or dict(answer.headers)["mine"] == b"1"


@pytest.mark.parametrize("kind", ["single-object", "confluent", "confluent-header"])
def test_an_event_s_data_is_framed_too_and_tells_itself_where_the_event_is_json(kind: str) -> None:
    it = dispatcher(Registry(BY_ID), framing(kind))
    attributes = {"specversion": "1.0", "id": "e", "source": "s", "type": "t"}
    binary = [(f"ce_{name}", text.encode()) for name, text in attributes.items()]
    event = {
        **attributes,
        "datacontenttype": "application/avro",
        "data_base64": base64.b64encode(BY_ID + body()).decode(),
    }
    in_binary, in_json = answers(
        it,
        record(BY_ID + body(), binary),
        record(json.dumps(event).encode(), [("content-type", b"application/cloudevents+json")], 1),
    )
    assert read(kind, in_binary).error is None
    assert dict(in_binary.headers)["ce_type"] == b"penstock.result"
    data = base64.b64decode(json.loads(in_json.value)["data_base64"])
    assert data.startswith(RESULT_ID if kind == "confluent" else schemas.prefix("PredictResult"))
    assert confluent.HEADER not in dict(in_json.headers)


def test_a_json_request_has_a_json_result_whatever_the_framing_of_avro_is() -> None:
    body_ = b'{"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}'
    [answer] = answers(dispatcher(Registry(), framing("confluent-header")), record(body_))
    assert V2JsonCodec().decode_result(answer.value).error is None
    assert list(answer.headers) == [("content-type", b"application/json")]
