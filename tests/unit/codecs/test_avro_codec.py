"""Our Avro reader and writer against Apache Avro, in both directions, and against bytes that are no record."""

from __future__ import annotations

import io
import struct

import avro.io
import avro.schema
import msgspec
import numpy as np
import pytest
from hypothesis import given, strategies as st

from pipeline.codecs import schemas
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.codec import Limits
from pipeline.errors import BadRequest, RecordTooLarge, TooManyTensors, Undecodable
from pipeline.records import PredictRequest, PredictResult
from pipeline.tensors import Tensor, from_array
from pipeline.testing.strategies import REQUESTS, RESULTS

CODEC, LIMITS = AvroCodec(), Limits()


def apache_decode(name: str, value: bytes) -> dict[str, object]:
    reader = avro.io.DatumReader(schemas.schema(name))
    datum = reader.read(avro.io.BinaryDecoder(io.BytesIO(value[10:])))
    assert isinstance(datum, dict)
    return datum


def plain(record: PredictRequest | PredictResult) -> dict[str, object]:
    tree = msgspec.to_builtins(record, builtin_types=(bytes, memoryview))
    for tensor in tree.get("inputs", tree.get("outputs", ())):
        tensor["shape"] = list(tensor["shape"])
    tree.update({key: list(tree[key]) for key in ("inputs", "outputs") if key in tree})
    assert isinstance(tree, dict)
    return tree


@given(REQUESTS)
def test_requests_are_read_by_apache_avro_and_come_back_equal(request: PredictRequest) -> None:
    value = CODEC.encode_request(request)
    assert apache_decode("PredictRequest", value) == plain(request)
    assert CODEC.decode_request(value, LIMITS) == request


@given(RESULTS)
def test_results_are_read_by_apache_avro_and_come_back_equal(result: PredictResult) -> None:
    value = CODEC.encode_result(result)
    assert apache_decode("PredictResult", value) == plain(result)
    assert CODEC.decode_result(value) == result


@given(REQUESTS)
def test_what_apache_avro_writes_is_read(request: PredictRequest) -> None:
    assert CODEC.decode_request(schemas.encode("PredictRequest", plain(request)), LIMITS) == request


def test_the_prefix_is_the_magic_and_the_little_endian_fingerprint() -> None:
    # The value for "int" is a test vector of the specification's reference implementation, 0x7275d51a3f395c8f.
    assert schemas.prefix_of(avro.schema.parse('"int"')) == b"\xc3\x01" + struct.pack("<Q", 0x7275D51A3F395C8F)


@given(st.binary(max_size=200))
def test_any_bytes_behind_the_prefix_decode_or_raise_bad_request(tail: bytes) -> None:
    try:
        CODEC.decode_request(schemas.prefix("PredictRequest") + tail, LIMITS)
    except BadRequest:
        pass


@given(REQUESTS, st.integers(0, 10_000))
def test_a_record_that_is_cut_short_is_undecodable(request: PredictRequest, place: int) -> None:
    value = CODEC.encode_request(request)
    with pytest.raises(Undecodable):
        CODEC.decode_request(value[: place % len(value)], LIMITS)


def test_limits_hold_before_anything_is_allocated() -> None:
    tensor = from_array("x", np.zeros((1, 4), np.float32))
    value = CODEC.encode_request(PredictRequest("a", inputs=(tensor,) * 3))
    with pytest.raises(TooManyTensors):
        CODEC.decode_request(value, Limits(max_tensors=2))
    with pytest.raises(RecordTooLarge):
        CODEC.decode_request(value, Limits(max_record_bytes=len(value) - 1))
    huge = PredictRequest("a", inputs=(Tensor("x", "FP32", (2**40, 2**20), b""),))
    with pytest.raises(Undecodable, match="bytes"):
        CODEC.decode_request(CODEC.encode_request(huge), LIMITS)


def test_a_record_of_another_schema_is_undecodable() -> None:
    value = schemas.prefix_of(avro.schema.parse('"int"')) + b"\2"
    with pytest.raises(Undecodable, match="it begins with c3018f5c393f1ad57572, and a PredictRequest with c301"):
        CODEC.decode_request(value, LIMITS)
    with pytest.raises(Undecodable, match="a PredictResult with"):
        CODEC.decode_result(value)


def outcome(codec: AvroCodec, value: bytes) -> PredictRequest | str:
    try:
        return codec.decode_request(value, LIMITS)
    except BadRequest as error:
        return error.code


@given(st.lists(REQUESTS, min_size=1, max_size=4), st.lists(st.integers(0, 20), max_size=6))
def test_what_was_read_before_changes_nothing(requests: list[PredictRequest], order: list[int]) -> None:
    """A codec reads rows of requests by comparing each with the one before; a fresh one has nothing to compare with."""
    warm = AvroCodec()
    for request in [*requests, *(requests[n % len(requests)] for n in order)]:
        value = CODEC.encode_request(request)
        assert warm.decode_request(value, LIMITS) == AvroCodec().decode_request(value, LIMITS) == request


@given(st.text(max_size=40), st.text(max_size=40), st.integers(0, 400), st.integers(0, 255), st.integers(0, 3))
def test_a_changed_byte_in_a_row_of_requests_is_read_as_if_it_stood_alone(
    first: str, second: str, place: int, byte: int, cut: int
) -> None:
    tensor = from_array("x", np.arange(8, dtype=np.float32).reshape(2, 4))
    warm = AvroCodec()
    warm.decode_request(CODEC.encode_request(PredictRequest(first, "m", inputs=(tensor,))), LIMITS)
    value = bytearray(CODEC.encode_request(PredictRequest(second, "m", inputs=(tensor,))))
    value[place % len(value)] = byte
    changed = bytes(value[: len(value) - cut])
    assert outcome(warm, changed) == outcome(AvroCodec(), changed)


@given(st.lists(st.text(max_size=70), min_size=2, max_size=4), st.integers(0, 400), st.integers(0, 255))
def test_a_changed_byte_among_requests_to_servables_in_turn_is_read_as_if_it_stood_alone(
    servables: list[str], place: int, byte: int
) -> None:
    tensor = from_array("x", np.arange(8, dtype=np.float32).reshape(2, 4))
    warm = AvroCodec()
    rows = [CODEC.encode_request(PredictRequest("id", servable, inputs=(tensor,))) for servable in servables]
    for value in rows:
        warm.decode_request(value, LIMITS)
    for value in rows:
        changed = bytearray(value)
        changed[place % len(value)] = byte
        assert outcome(warm, bytes(changed)) == outcome(AvroCodec(), bytes(changed))


def test_requests_to_servables_in_turn_are_read_by_comparing_each_with_the_last_one_to_its_servable() -> None:
    tensor = from_array("x", np.ones((1, 4), np.float32))
    it = AvroCodec()
    rows = [CODEC.encode_request(PredictRequest("id", servable, inputs=(tensor,))) for servable in ("one", "two")]
    first, second = [it.decode_request(value, LIMITS).inputs[0].name for value in rows]
    # What was compared, and not read again, is the same object.
    assert it.decode_request(rows[0], LIMITS).inputs[0].name is first
    assert it.decode_request(rows[1], LIMITS).inputs[0].name is second
