"""Requests make up texts as long as a record may be; neither memory nor the result topic has to take them."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.codecs import avro_writing
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.connector import Record
from pipeline.errors import NotReady, RemoteError, ResultTooLarge
from pipeline.metrics import Metrics
from pipeline.records import PredictRequest
from pipeline.registry.servable import ServableId
from pipeline.serving.dispatcher import Dispatcher
from pipeline.serving.headers import Envelope
from pipeline.serving.pending import Pending
from pipeline.settings import RouteSettings
from pipeline.tensors import from_array
from pipeline.testing.fakes import AddingServable, FakeClock, manager_with

AVRO = AvroCodec()
LONG = "x" * 2_000_000
INPUTS = (from_array("x", np.ones((1, 2), np.float32)),)


def dispatcher() -> Dispatcher:
    manager = manager_with({ServableId("adder", 1): AddingServable()})
    return Dispatcher(RouteSettings(servable="adder"), manager, [AVRO], FakeClock())


RECORDS = {
    "id": Record(AVRO.encode_request(PredictRequest(LONG, inputs=INPUTS)), b"key", (), "q", 0, 0, 0),
    "servable": Record(AVRO.encode_request(PredictRequest("a", LONG, inputs=INPUTS)), b"key", (), "q", 0, 0, 0),
    "key": Record(AVRO.encode_request(PredictRequest("a", inputs=INPUTS)), LONG.encode(), (), "q", 0, 0, 0),
    "header": Record(b"nonsense", None, [("mine", LONG.encode())], "q", 0, 0, 0),
    "id header": Record(b"nonsense", None, [("x-request-id", LONG.encode())], "q", 0, 0, 0),
}


@pytest.mark.parametrize("long", RECORDS)
def test_what_is_too_long_for_the_result_topic_is_answered_with_something_short(long):
    """Else the worker stops, and everybody after it who is given the record."""
    answer = dispatcher().refuse(RECORDS[long], ResultTooLarge("adder", 2_000_000, 1_000_000))
    headers = sum(len(name) + len(value or b"") for name, value in answer.headers)
    assert len(answer.value) + len(answer.key or b"") + headers < 10_000
    result = AVRO.decode_result(answer.value)
    assert result.error is not None
    assert ("error-code", result.error.code.encode()) in answer.headers


def test_a_text_that_is_cut_says_so():
    long = AVRO.decode_result(dispatcher().refuse(RECORDS["id"], ResultTooLarge("adder", 1, 1)).value)
    assert long.id == "x" * 1000 + " ..."
    it = dispatcher()
    [answer] = it.answer(it.decode([RECORDS["servable"]]))
    error = AVRO.decode_result(answer.value).error
    assert error is not None
    assert (len(error.message), error.message[-5:]) == (4004, "x ...")


def test_short_texts_are_repeated_as_they_were():
    record = Record(AVRO.encode_request(PredictRequest("a", "b", inputs=INPUTS)), b"k", [("h", b"1")], "q", 0, 0, 0)
    answer = dispatcher().refuse(record, ResultTooLarge("adder", 2_000_000, 1_000_000))
    result = AVRO.decode_result(answer.value)
    assert (result.id, result.servable, answer.key, answer.headers[0]) == ("a", "b", b"k", ("h", b"1"))


def test_a_long_name_that_a_request_made_up_is_not_remembered():
    it = dispatcher()
    name = LONG + "0"
    value = AVRO.encode_request(PredictRequest("a", name, inputs=INPUTS))
    before = avro_writing._name_and_version.cache_info().currsize
    [answer] = it.answer(it.decode([Record(value, None, (), "q", 0, 0, 0)]))
    assert AVRO.decode_result(answer.value).error is not None
    assert avro_writing._name_and_version.cache_info().currsize == before


def test_codes_that_came_from_elsewhere_make_no_labels():
    metrics = Metrics()
    record = RECORDS["key"]
    for number in range(100):
        error = RemoteError("a", f"made_up_{number}", "text", wire_retriable=False)
        metrics.computed("adder", [Pending(record, AVRO, Envelope(), error=error)], 0.1)
    metrics.computed("adder", [Pending(record, AVRO, Envelope(), error=NotReady("adder", ()))], 0.1)
    [family] = [it for it in metrics.registry.collect() if it.name == "penstock_requests"]
    outcomes = {sample.labels["outcome"] for sample in family.samples if sample.name.endswith("_total")}
    assert outcomes == {"ok", "internal", "not_ready"}
