"""A route holds what it may hold: batches, and the bytes that are really there."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, strategies as st

from pipeline.codecs import confluent
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.codec import Limits
from pipeline.codecs.confluent import WriterSchema
from pipeline.codecs.schemas import PREFIX_BYTES, prefix, schema
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.connector import Answer, Record
from pipeline.errors import SchemaUnavailable
from pipeline.records import PredictRequest
from pipeline.serving import in_flight
from pipeline.serving.dispatcher import Dispatcher
from pipeline.serving.headers import Envelope
from pipeline.serving.in_flight import InFlight
from pipeline.serving.pending import Pending
from pipeline.settings import RouteSettings
from pipeline.tensors import from_array
from pipeline.testing.fakes import FakeClock, manager_with

AVRO, JSON, LIMITS = AvroCodec(), V2JsonCodec(), Limits()
NAME = confluent.of_id(1)
OURS = schema("PredictRequest")
# With another prefix it is read as one of another version is.
WRITERS = {"ours": WriterSchema(prefix("PredictRequest"), OURS), "another": WriterSchema(b"", OURS)}


@given(sizes=st.lists(st.integers(0, 150), max_size=30), order=st.randoms())
def test_the_sum_stays_within_the_bound_and_a_larger_batch_passes_alone(sizes, order):
    it, inside = InFlight(4, 100), []
    for size in sizes:
        while not it.enter(0):
            it.leave(inside.pop(order.randrange(len(inside))))
        while not it.admit(size, 0):
            it.leave(inside.pop(order.randrange(len(inside))))
        inside.append(size)
        assert len(inside) <= 4
        assert it.held_bytes == sum(inside)
        assert it.held_bytes <= 100 or sum(1 for size in inside if size) == 1


def test_answers_that_the_broker_has_not_accepted_keep_the_route_from_taking_more():
    it = InFlight(4, 100)
    assert it.enter(0)
    assert it.admit(10, 0)
    it.change(10, 100)
    assert not it.enter(0)
    it.leave(100)
    assert it.enter(0)


def test_a_route_that_is_widened_takes_more_batches_within_the_same_bytes_and_none_until_it_is_narrow_again():
    it = InFlight(1, 100)
    it.widen(2)
    assert [it.enter(0) for _ in range(4)] == [True, True, True, False]
    assert it.admit(60, 0)
    assert not it.admit(60, 0)
    it.widen(0)
    it.leave(60)
    assert not it.enter(0)
    it.leave()
    assert not it.enter(0)
    it.leave()
    assert it.enter(0)


def test_whoever_waits_for_room_goes_on_when_a_batch_leaves():
    it = InFlight(1, 100)
    assert it.enter(0)
    assert it.admit(60, 0)
    leaver = threading.Thread(target=it.leave, args=(60,))
    leaver.start()
    assert it.enter(20)
    leaver.join()
    it.leave()
    assert it.wait_until_empty(0)


def dispatcher(known):
    """Of a route whose registry has answered for the names that are known."""

    class Registry:
        def find(self, name):
            if name not in known:
                raise SchemaUnavailable("id 1", name, "it was not asked for yet")
            return known[name]

    route = RouteSettings(servable="m", request_topic="q", result_topic="r")
    codec = AvroCodec(schemas_by_name=Registry())
    return Dispatcher(route, manager_with({}, FakeClock()), [codec], FakeClock(), fetch=lambda names: None)


def pending(codec, columns, datatype=np.float32, headers=()):
    request = PredictRequest("a", inputs=(from_array("x", np.ones((1, columns), datatype)),))
    value = codec.encode_request(request)
    record = Record(value, b"key", headers, "q", 0, 0, 0)
    return Pending(record, codec, Envelope(), codec.decode_request(value, LIMITS))


def test_a_large_tensor_in_avro_is_a_view_and_held_once():
    one = pending(AVRO, 1_000_000)
    assert isinstance(one.request.inputs[0].data, memoryview)
    assert one.request.inputs[0].array().sum() == 1_000_000
    assert in_flight.of_decoded([one], len(one.record.value), 1) == 0


def test_a_tensor_that_a_codec_has_made_counts_beside_its_record():
    one = pending(JSON, 100_000, np.int64)
    assert in_flight.of_decoded([one], len(one.record.value), 1) == 800_000


@pytest.mark.parametrize("version", ["ours", "another"])
def test_a_request_that_waits_for_its_schema_has_room_for_its_tensors_before_they_are_decoded(version):
    """Many small ones, which are copied; with a schema of another version every one is."""
    inputs = tuple(from_array(f"x{n}", np.ones((1, 1_000 * 10 ** (n % 2)), np.float32)) for n in range(20))
    known = {}
    it = dispatcher(known)
    value = NAME + AVRO.encode_request(PredictRequest("a", inputs=inputs))[PREFIX_BYTES:]
    [one] = it.decode([Record(value, b"key", (), "q", 0, 0, 0)])
    assert isinstance(one.error, SchemaUnavailable)
    room = in_flight.of_decoded([one], len(value), 1)
    known[NAME] = WRITERS[version]
    it.decode_late([one])
    held = in_flight.of_decoded([one], len(value), 1)
    assert 0 < held <= room


@pytest.mark.parametrize("datatype", [np.int64, np.float64, np.bool_, "S1"])
def test_no_decoded_request_takes_more_than_is_assumed_of_small_batches(datatype):
    one = pending(JSON, 10_000, datatype)
    decoded = sum(len(tensor.data) for tensor in one.request.inputs)
    assert decoded <= in_flight._MOST_DECODED * len(one.record.value)


def test_keys_and_headers_count():
    record = Record(b"1234", b"12", [("name", b"12345"), ("none", None)], "q", 0, 0, 0)
    assert in_flight.of_records([record, Record(b"1", None, (), "q", 0, 0, 0)]) == 4 + 2 + 9 + 4 + 1
    assert in_flight.of_answers([Answer(b"123", None, ()), Answer(b"", None, ())]) == 3
