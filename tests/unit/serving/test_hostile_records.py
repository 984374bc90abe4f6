"""What fuzzing found: records that wrote where they may not, or stopped the worker for good."""

from __future__ import annotations

import json
import time
import tracemalloc
from typing import Any

import msgspec
import numpy as np
import pytest

from pipeline.codecs import schemas
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.codec import Limits
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.connector import Answer, Headers, Record
from pipeline.errors import ReplyRefused, ResultTooLarge, Undecodable
from pipeline.records import PredictRequest, PredictResult
from pipeline.registry.servable import ServableId
from pipeline.serving.dispatcher import Dispatcher
from pipeline.settings import RouteSettings
from pipeline.tensors import MOST_AXES, Tensor, from_array
from pipeline.testing.fakes import AddingServable, FakeClock, manager_with

AVRO, CLOCK = AvroCodec(), FakeClock()
GOOD = from_array("x", np.array([[1, 2]], np.float32))
ROUTE = RouteSettings(servable="adder", request_topic="q", result_topic="r", reply_topics=("mine.*",))


def answered(value: PredictRequest | bytes, headers: Headers = (), fault: str = "") -> Answer:
    data = value if isinstance(value, bytes) else AVRO.encode_request(value)
    it = Dispatcher(ROUTE, manager_with({ServableId("adder", 3): AddingServable()}, CLOCK), [AVRO], CLOCK)
    [made] = it.answer(it.decode([Record(data, b"key", headers, "q", 1, 0, CLOCK.unix_ms(), fault)]))
    return made


def answer(value: PredictRequest | bytes, headers: Headers = (), fault: str = "") -> tuple[Answer, PredictResult]:
    made = answered(value, headers, fault)
    return made, AVRO.decode_result(made.value)


@pytest.mark.parametrize("value", [b"no request", PredictRequest("none")])
def test_a_record_that_is_refused_is_answered_within_the_allow_list_too(value: PredictRequest | bytes) -> None:
    made, result = answer(value, [("reply_to", b"theirs"), ("reply_partition", b"1")])
    assert result.error is not None
    assert (made.topic, made.partition) == (None, None)
    allowed, _ = answer(value, [("reply_to", b"mine.1"), ("reply_partition", b"1")])
    assert (allowed.topic, allowed.partition) == ("mine.1", 1)


def test_a_record_whose_headers_can_not_be_read_is_undecodable_whatever_its_bytes_say() -> None:
    made, result = answer(PredictRequest("a", inputs=(GOOD,)), fault="the name of a header is not UTF-8")
    assert result.error is not None
    assert (result.error.code, made.dead_letter) == ("undecodable", result.error)
    assert "not UTF-8" in result.error.message


@pytest.mark.parametrize("digits", [19, 5000])
def test_a_version_of_more_digits_than_a_number_has_is_a_label_that_nobody_has(digits: int) -> None:
    _, result = answer(PredictRequest("a", inputs=(GOOD,)), [("model-version", b"9" * digits)])
    assert result.error is not None
    assert result.error.code == "unknown_label"
    assert len(result.error.message) < 4100


def test_a_reply_partition_is_one_that_there_may_be_or_any() -> None:
    _, result = answer(PredictRequest("a", inputs=(GOOD,)), [("reply_partition", b"9" * 18)])
    assert result.error is not None
    assert result.error.code == "undecodable"
    made, result = answer(PredictRequest("a", inputs=(GOOD,)), [("kafka_replyPartition", b"\xff\xff\xff\xff")])
    assert (made.partition, result.error) == (None, None)
    _, result = answer(PredictRequest("a", inputs=(GOOD,)), [("kafka_replyPartition", b"\0" * 20)])
    assert result.error is not None
    assert result.error.code == "undecodable"


@pytest.mark.parametrize("shape", [[1] * (MOST_AXES + 1), [0, 2**70], [2**40, 0, 2**40]])
def test_a_shape_that_no_array_has_is_undecodable_in_each_format(shape: list[int]) -> None:
    data = [1] if 0 not in shape else []
    body: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": shape, "data": data}
    with pytest.raises(Undecodable):
        V2JsonCodec().decode_request(json.dumps({"inputs": [body]}).encode(), Limits())
    tensor = Tensor("x", "FP32", tuple(min(axis, 2**62) for axis in shape), b"\0" * 4 * len(data))
    with pytest.raises(Undecodable):
        AVRO.decode_request(AVRO.encode_request(PredictRequest("a", inputs=(tensor,))), Limits())


@pytest.mark.parametrize("format_", ["avro", "json", "binary"])
@pytest.mark.parametrize(("axes", "axis"), [(400, 2**62), (100_000, 2**62), (3, 10**4000)], ids=str)
def test_a_shape_of_any_length_is_answered_at_once(format_: str, axes: int, axis: int) -> None:
    """Its product would have thousands of digits, which no text may have, or take minutes."""
    value: PredictRequest | bytes
    body: dict[str, Any] = {"name": "x", "datatype": "FP32", "shape": [axis] * axes, "data": [1]}
    headers: Headers = ()
    if format_ == "avro":
        value = PredictRequest("a", inputs=(Tensor("x", "FP32", (min(axis, 2**62),) * axes, b"\0" * 4),))
    elif format_ == "json":
        value = json.dumps({"inputs": [body]}).encode()
    else:
        head = json.dumps({"inputs": [{**body, "parameters": {"binary_data_size": 4}}]}, default=str)
        head = head.replace(', "data": [1]', "")
        value, headers = head.encode() + b"\0" * 4, [("Inference-Header-Content-Length", str(len(head)).encode())]
    began_s = time.process_time()
    letter = answered(value, headers).dead_letter
    assert letter is not None
    assert letter.code == "undecodable"
    assert time.process_time() - began_s < 2.0  # it took 25 s


class Broken:
    """A codec with a fault of its own."""

    content_type = "application/x-broken"

    def recognises(self, value: bytes) -> bool:
        return value == b"broken"

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        raise ZeroDivisionError("its fault")

    encode_request = encode_result = decode_result = decode_request


def test_a_fault_of_a_codec_costs_one_record() -> None:
    it = Dispatcher(ROUTE, manager_with({ServableId("adder", 3): AddingServable()}, CLOCK), [AVRO, Broken()], CLOCK)
    good = AVRO.encode_request(PredictRequest("a", inputs=(GOOD,)))
    records = [Record(value, b"k", (), "q", 1, 0, CLOCK.unix_ms()) for value in (good, b"broken", good)]
    letters = [made.dead_letter for made in it.answer(it.decode(records))]
    assert [letter is None for letter in letters] == [True, False, True]
    assert letters[1] is not None
    assert "has a fault: ZeroDivisionError: its fault" in letters[1].message


def test_a_number_of_more_than_64_bits_is_undecodable() -> None:
    value = AVRO.encode_request(PredictRequest("", version=5, inputs=(GOOD,)))
    prefix = schemas.prefix("PredictRequest") + b"\0\0\2"
    assert value.startswith(prefix + b"\x0a")
    for number, is_number in ((b"\xff" * 9 + b"\1", True), (b"\xff" * 9 + b"\2", False)):
        changed = prefix + number + value[len(prefix) + 1 :]
        if is_number:
            assert AVRO.decode_request(changed, Limits()).version == -(2**63)
        else:
            with pytest.raises(Undecodable, match="64 bits"):
                AVRO.decode_request(changed, Limits())


def test_an_error_result_fits_where_its_request_did_not() -> None:
    """An id or a name of a megabyte would make each error about it too large as well."""
    for request in (
        PredictRequest("i" * ROUTE.max_result_bytes),
        PredictRequest("i", "s" * ROUTE.max_result_bytes, inputs=(GOOD,)),
    ):
        made, result = answer(request)
        assert len(made.value) < ROUTE.max_result_bytes
        assert result.source is not None
        assert result.error is not None


def test_an_answer_that_is_refused_as_too_large_does_not_echo_what_made_it_so() -> None:
    it = Dispatcher(ROUTE, manager_with({ServableId("adder", 3): AddingServable()}, CLOCK), [AVRO], CLOCK)
    headers: Headers = [("x-request-id", b"a"), ("large", b"v" * 10_000), ("mine", b"m")]
    record = Record(AVRO.encode_request(PredictRequest("a", inputs=(GOOD,))), None, headers, "q", 1, 0, CLOCK.unix_ms())
    refused = it.refuse(record, ResultTooLarge("adder", 2_000_000, 1_000_000))
    assert [name for name, _ in refused.headers] == ["x-request-id", "mine", "status", "error-code"]
    other = it.refuse(record, ReplyRefused("r[9]", ()))
    assert [name for name, _ in other.headers] == ["x-request-id", "large", "mine", "status", "error-code"]


def test_what_was_wrong_with_a_record_before_its_answer_was_refused_is_the_reason() -> None:
    it = Dispatcher(ROUTE, manager_with({ServableId("adder", 3): AddingServable()}, CLOCK), [AVRO], CLOCK)
    refused = it.refuse(Record(b"?", None, (), "q", 1, 0, CLOCK.unix_ms()), ReplyRefused("r[9]", ()))
    error = AVRO.decode_result(refused.value).error
    assert error is not None
    assert error.code == "undecodable"


@pytest.mark.parametrize("name_bytes", [1, 2**18], ids=["large data", "a long name"])
def test_nothing_of_a_request_is_kept_that_is_as_large_as_it(name_bytes: int) -> None:
    """Rows of like requests are read by the last one's layout, and what results of a batch share is made once."""
    full = msgspec.structs.replace(ROUTE, result_headers="full")
    it = Dispatcher(full, manager_with({ServableId("adder", 3): AddingServable()}, CLOCK), [AvroCodec()], CLOCK)
    data = np.zeros((2**15, 2), np.float32)

    def ask(number: int) -> None:
        name = f"{number:04}".ljust(name_bytes, "n")
        request = PredictRequest("a", name, inputs=(from_array("x", data if name_bytes == 1 else data[:1]),))
        record = Record(AVRO.encode_request(request), b"k", (), "q", 1, 0, CLOCK.unix_ms())
        assert it.answer(it.decode([record]))

    ask(0)
    tracemalloc.start()
    try:
        for number in range(40):
            ask(number)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2**20  # of 10 MiB
