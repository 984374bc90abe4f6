"""A codec with a fault costs the records that it fails on: each has an answer, and its neighbours have theirs."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint

import numpy as np
import pytest

from pipeline import plugins
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.cluster_serving import ClusterServingCodec, arrow_stream
from pipeline.codecs.codec import Codec
from pipeline.codecs.installed import load_codec
from pipeline.connector import Answer, Record
from pipeline.records import PredictRequest
from pipeline.registry.servable import ServableId
from pipeline.serving.dispatcher import Dispatcher
from pipeline.settings import RouteSettings
from pipeline.tensors import from_array
from pipeline.testing.fakes import AddingServable, FakeClock, manager_with
from tests.contract.broken_codecs import Tagged

AVRO, TAGGED = AvroCodec(), Tagged()


def request(id_: str, *row: float) -> PredictRequest:
    return PredictRequest(id_, inputs=(from_array("x", np.array([row], np.float32)),))


def answers(name: str, *values: bytes) -> list[Answer]:
    codec: Codec = load_codec("mine", [EntryPoint("mine", f"tests.contract.broken_codecs:{name}", plugins.CODECS)])
    manager = manager_with({ServableId("adder", 3): AddingServable()})
    route = RouteSettings(servable="adder", request_topic="q", result_topic="r", format=codec.content_type)
    it = Dispatcher(route, manager, [AVRO, codec], FakeClock())
    return it.answer(it.decode([Record(value, b"k", (), "q", 0, n, 0) for n, value in enumerate(values)]))


def test_bytes_that_make_a_codec_raise_are_a_dead_letter_and_their_neighbours_are_answered() -> None:
    garbage, good = answers("RaisesForGarbage", b"garbage", TAGGED.encode_request(request("a", 1, 2)))
    error = TAGGED.decode_result(garbage.value).error
    assert error is not None
    assert error.code == "undecodable"
    assert "'mine' raised ValueError" in error.message
    assert garbage.dead_letter is not None
    assert TAGGED.decode_result(good.value).outputs[0].array().tolist() == [3.0]


def test_outputs_that_make_a_codec_raise_are_an_error_of_their_request_alone() -> None:
    failed, good = answers(
        "RaisesForThirteen", *(TAGGED.encode_request(request(id_, 10, row)) for id_, row in (("a", 3), ("b", 4)))
    )
    error = TAGGED.decode_result(failed.value).error
    assert error is not None
    assert error.code == "not_representable"
    assert TAGGED.decode_result(good.value).outputs[0].array().tolist() == [14.0]


@pytest.mark.parametrize("value", [b"garbage", TAGGED.encode_request(request("a", 13, 0))])
def test_an_error_that_its_codec_can_not_write_goes_out_in_the_first_format_and_says_so(value: bytes) -> None:
    [answer] = answers("RefusesErrors", value)
    assert AVRO.decode_result(answer.value).error is not None
    assert dict(answer.headers)["content-type"] == b"application/avro"


def test_a_record_in_a_format_whose_extra_is_not_installed_stops_no_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever can write to the topic can name any format."""
    value = ClusterServingCodec().encode_request(request("a", 1, 2))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(arrow_stream, "_columns", arrow_stream._columns.__wrapped__)  # it remembers what it has read
    route = RouteSettings(servable="adder", request_topic="q", result_topic="r")
    manager = manager_with({ServableId("adder", 3): AddingServable()})
    it = Dispatcher(route, manager, [AVRO, load_codec("cluster-serving")], FakeClock())
    records = [Record(value, b"k", (("content-type", b"cluster-serving"),), "q", 0, 0, 0)]
    [answer] = it.answer(it.decode(records))
    assert dict(answer.headers)["error-code"] == b"undecodable"
    assert answer.dead_letter is not None
    assert "pyarrow" in answer.dead_letter.message
