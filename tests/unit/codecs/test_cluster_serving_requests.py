"""Whatever the ancestor's clients write is read; whatever nobody writes is refused with a reason, and nothing else."""

from __future__ import annotations

import base64
import json
import tracemalloc
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

from pipeline.codecs.cluster_serving import ClusterServingCodec
from pipeline.codecs.codec import Limits
from pipeline.errors import BadRequest, RecordTooLarge, TooManyTensors, Undecodable
from pipeline.records import PredictRequest
from pipeline.tensors import from_array
from tests.unit.codecs import ancestor_bytes as theirs

CODEC, LIMITS = ClusterServingCodec(), Limits()
JPEG = b"\xff\xd8\xff\xe0" + bytes(40)
X = np.arange(6, dtype=np.float32).reshape(2, 3)


def read(value: bytes, limits: Limits = LIMITS) -> PredictRequest:
    return CODEC.decode_request(value, limits)


def inputs(data: bytes | str, **more: str) -> dict[str, Any]:
    return {tensor.name: tensor.array() for tensor in read(theirs.entry("u", data, **more)).inputs}


def reason(value: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(BadRequest) as refused:
        read(value, limits)
    return str(refused.value)


@pytest.mark.parametrize("array", [X, np.float32(7), np.zeros((0, 3)), np.ones((1, 1, 2)), np.zeros((2, 1, 1, 1, 3))])
def test_a_dense_tensor_is_read_in_any_rank(array: Any) -> None:
    found = inputs(theirs.stream({"t": theirs.tensor(array)}))["t"]
    assert found.dtype == np.float32
    assert found.shape == np.shape(array)
    assert found.tolist() == np.asarray(array, np.float32).tolist()


def test_several_tensors_come_in_the_order_of_the_call() -> None:
    request = read(theirs.entry("u", theirs.stream({"b": theirs.tensor(X), "a": theirs.tensor([1])})))
    assert [tensor.name for tensor in request.inputs] == ["b", "a"]


@pytest.mark.parametrize(
    "indices", [[[0, 1, 4], [0, 2, 5]], [[0, 0], [1, 2], [4, 5]]], ids=["rank x values", "values x rank"]
)
def test_a_sparse_tensor_is_made_dense_whichever_way_its_indices_lie(indices: Any) -> None:
    found = inputs(theirs.stream({"t": theirs.sparse(indices, [1, 2, 3], [5, 10])}))["t"]
    expected = np.zeros((5, 10), np.float32)
    expected[0, 0], expected[1, 2], expected[4, 5] = 1, 2, 3
    assert (found == expected).all()


def test_square_indices_are_those_of_a_python_client() -> None:
    found = inputs(theirs.stream({"t": theirs.sparse([[0, 1], [2, 3]], [1, 2], [5, 5])}))["t"]
    assert np.argwhere(found).tolist() == [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    ("indices", "values", "shape", "why"),
    [
        ([[0, 5], [0, 0]], [1, 2], [5, 5], "outside its shape"),
        ([[0, -1], [0, 0]], [1, 2], [5, 5], "outside its shape"),
        ([[0, 1, 2]], [1, 2, 3], [5, 5], r"expected [2, 3] or [3, 2]"),
        ([[0], [0]], [1], [2**30, 2**30], "bytes when it is dense"),
        ([[0], [0]], [1], [-5, 5], "shape [-5, 5]"),
    ],
)
def test_a_sparse_tensor_that_does_not_fit_together_is_refused(indices: Any, values: Any, shape: Any, why: str) -> None:
    assert why in reason(theirs.entry("u", theirs.stream({"t": theirs.sparse(indices, values, shape)})))


def test_the_sparse_tensors_of_a_request_are_together_no_larger_than_a_record_may_be() -> None:
    several = {f"t{n}": theirs.sparse([[0], [0]], [1], [1, 2_000_000]) for n in range(3)}  # of 8 MB each
    assert "'t2'" in reason(theirs.entry("u", theirs.stream(several)))
    assert set(inputs(theirs.stream(dict(list(several.items())[:2])))) == {"t0", "t1"}


def test_texts_an_image_and_a_single_text_are_told_apart() -> None:
    image = base64.b64encode(JPEG).decode()
    columns = {"several": theirs.text("a", "", "c"), "one": theirs.text("single"), "image": theirs.text(image)}
    found = inputs(theirs.stream(columns))
    assert found["several"].tolist() == [b"a", b"", b"c"]
    assert found["one"].tolist() == [b"single"]
    assert found["image"].shape == ()
    assert found["image"].item() == JPEG


@pytest.mark.parametrize("start", ["/9j/ is how it begins", "Qk0 is short", "R0lGOD", "Qk0="])
def test_a_text_that_begins_like_an_image_is_a_text(start: str) -> None:
    assert inputs(theirs.stream({"t": theirs.text(start)}))["t"].tolist() == [start.encode()]


def test_the_file_of_enqueue_tensor_is_read_by_its_magic() -> None:
    request = read(theirs.entry("u", theirs.file_of("u", X, [7])))
    assert [tensor.array().tolist() for tensor in request.inputs] == [X.tolist(), [7]]


def test_a_struct_of_a_jvm_is_read_although_it_is_shorter_than_its_children() -> None:
    data = theirs.jvm_stream("t", X)
    [batch] = pa.ipc.open_stream(data)
    assert len(batch.column(0).field("data")) == 1  # what pyarrow leaves of it
    assert inputs(data)["t"].tolist() == X.tolist()


def test_columns_of_numbers_are_read() -> None:
    found = inputs(theirs.stream({"i": pa.array([7], pa.int32()), "f": pa.array([0.5], pa.float64())}))
    assert found["i"].tolist() == [7]
    assert found["f"].tolist() == [0.5]


def test_instances_in_json_are_read() -> None:
    instance = {
        "number": 5,
        "floats": [[1, 2.5], [3, 4]],
        "texts": ["a", "b|c"],
        "text": "word",
        "image": base64.b64encode(JPEG).decode(),
        "b64": {"b64": base64.b64encode(b"RIFF").decode()},
        "sparse": {"shape": [3, 2], "data": [7], "indices": [[2], [1]]},
        "large": 2**53,
    }
    found = inputs(json.dumps({"instances": [instance]}), serde="stream")
    assert list(found) == list(instance)
    assert found["number"].tolist() == [5]
    assert found["floats"].tolist() == instance["floats"]
    assert found["texts"].tolist() == [b"a", b"b|c"]
    assert found["text"].tolist() == [b"word"]
    assert (found["image"].item(), found["b64"].item()) == (JPEG, b"RIFF")
    assert found["sparse"].tolist() == [[0, 0], [0, 0], [0, 7]]
    assert found["large"].tolist() == [2.0**53]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ("[]", "no JSON with 'instances'"),
        ('{"instances": []}', "0 instances"),
        ('{"instances": [{}, {}]}', "2 instances"),
        ('{"instances": [{"a": [1, [2]]}]}', "no tensor"),
        ('{"instances": [{"a": ["x", ["y"]]}]}', "nested unevenly"),
        ('{"instances": [{"a": ["x", 1]}]}', "neither numbers nor text"),
        ('{"instances": [{"a": null}]}', "neither numbers nor text"),
        ('{"instances": [{"a": {"x": 1}}]}', "is an object"),
        ('{"instances": [{"a": {"shape": [1], "data": [1], "indices": [[1], [2, 3]]}}]}', "is an object"),
        ('{"instances": [{"a": {"shape": [0, 9223372036854775808], "data": [], "indices": [[], []]}}]}', "limit"),
        ('{"instances": [{"a": {"shape": [0, 4611686018427387904], "data": [], "indices": [[], []]}}]}', "limit"),
        ('{"instances": [{"a": {"b64": "ä"}}]}', "not base64"),
        ('{"instances": [{"a": ' + "[" * 40 + "1" + "]" * 40 + "}]}", "more than 32 axes"),
        ('{"instances": [{"a": ' + "[" * 5000 + "]" * 5000 + "}]}", "no JSON"),
        ('{"instances": [{"a": 1' + "0" * 400 + "}]}", "no"),
    ],
)
def test_instances_that_are_no_tensors_are_refused(data: str, why: str) -> None:
    assert why in reason(theirs.entry("u", data, serde="stream"))


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (b"", "not an entry"),
        (b"\xc3\x01", "not an entry"),
        (b"[]", "not an entry"),
        (b'{"uri": "u"}', "data"),
        (b'{"data": "x"}', "uri"),
        (b'{"uri": null, "data": "x"}', "uri"),
        (theirs.entry("u", "???"), "not base64"),
        (theirs.entry("u", "ä"), "not base64"),
        (theirs.entry("u", "QUJD\nQUJD"), "not base64"),
        (theirs.entry("u", b"hello"), "not an Arrow stream"),
        (theirs.entry("u", b""), "not an Arrow stream: it is empty"),
        (theirs.entry("u", b"ARROW1\0\0"), "not an Arrow stream: it is empty"),
        (theirs.entry("u", b"\xff\xff\xff\xff\xff\xff\xff\x7f"), "2147483647 bytes"),
        (theirs.entry("u", b"\xff\xff\xff\xff\xff\xff\xff\xff"), "a message of -1 bytes"),
        (theirs.entry("u", "{}", serde="protobuf"), "serde is 'protobuf'"),
    ],
)
def test_what_is_no_entry_is_refused_with_the_reason(value: bytes, why: str) -> None:
    assert why in reason(value)


def test_every_truncation_of_a_request_is_refused_or_a_request_without_its_end() -> None:
    whole = theirs.stream({"t": theirs.tensor(X), "p": theirs.sparse([[0], [1]], [1], [2, 2])})
    for length in range(len(whole)):
        try:
            request = read(theirs.entry("u", whole[:length]))
        except BadRequest:
            continue
        assert length == len(whole) - 8 or not request.inputs  # the last 8 bytes are the mark of its end


@given(st.data())
def test_a_damaged_request_is_refused_or_read_and_never_more(data: st.DataObject) -> None:
    kinds = {"t": theirs.tensor(X), "p": theirs.sparse([[0], [1]], [1], [2, 2])}, {"s": theirs.text("a", "b")}
    whole = bytearray(data.draw(st.sampled_from([*map(theirs.stream, kinds), theirs.file_of("u", X, X)])))
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=6)):
        whole[place] = data.draw(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]) | st.integers(0, 255))
    try:
        request = read(theirs.entry("u", bytes(whole)))
    except BadRequest:
        return
    for tensor in request.inputs:
        tensor.check()


@given(st.binary(max_size=300), st.booleans())
def test_any_bytes_are_refused_and_nothing_else_is_raised(data: bytes, is_data: bool) -> None:  # noqa: FBT001  # hypothesis passes it so
    value = theirs.entry("u", data) if is_data else data
    with pytest.raises(BadRequest):
        read(value)


def test_lengths_that_lie_cost_no_memory() -> None:
    """A batch that says it is compressed, or has 2^40 elements, is refused before anything is allocated for it."""
    zeros = np.zeros(4_000_000, np.float32)
    packed = theirs.stream({"n": pa.array(zeros)}, options=pa.ipc.IpcWriteOptions(compression="zstd"))
    assert len(packed) < 10_000
    lying = bytearray(theirs.stream({"n": pa.array([1.5, 2.5, 3.5])}))
    place = lying.index((3).to_bytes(8, "little") + bytes(8))
    lying[place : place + 8] = (2**40).to_bytes(8, "little")
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    assert "compressed" in reason(theirs.entry("u", packed))
    assert "claims 1099511627776 elements, and has" in reason(theirs.entry("u", bytes(lying)))
    assert pa.total_allocated_bytes() == before
    assert tracemalloc.get_traced_memory()[1] < 2_000_000
    tracemalloc.stop()


def test_limits_hold() -> None:
    value = theirs.entry("u", theirs.stream({name: theirs.tensor([1]) for name in "abc"}))
    with pytest.raises(TooManyTensors):
        read(value, Limits(max_tensors=2))
    with pytest.raises(TooManyTensors):
        read(theirs.entry("u", theirs.file_of("u", [1], [2], [3])), Limits(max_tensors=2))
    with pytest.raises(RecordTooLarge):
        read(value, Limits(max_record_bytes=len(value) - 1))
    assert "1000001 texts" in reason(theirs.entry("u", theirs.stream({"t": theirs.text(*[""] * 1_000_001)})))
    assert "1000001 texts" in reason(theirs.entry("u", theirs.stream({"t": pa.array([""] * 1_000_001)})))


@pytest.mark.parametrize(
    ("columns", "why"),
    [
        ({"t": pa.array([[1]])}, "expected numbers"),
        ({"t": pa.array([True])}, "expected numbers"),
        ({"t": pa.array([{"a": 1}])}, "has the type"),
        ({"t": pa.array([{"a": [1.0]}])}, "expected lists of numbers called data, shape"),
        ({"t": pa.array([{"data": [1.0], "shape": [1.0]}])}, "expected integers"),
        ({"t": pa.array([{"data": [1.0, None], "shape": [2]}])}, "nulls among its elements"),
        ({"t": pa.array([{"data": [1.0, 2.0], "shape": [3]}])}, "needs 24 bytes, got 16"),
        ({"t": pa.array([{"data": [1.0], "shape": [1] * 33}])}, "33 axes"),
        ({"t": pa.array(["a"]).dictionary_encode()}, "expected numbers"),
    ],
)
def test_columns_that_are_no_tensor_are_refused(columns: Any, why: str) -> None:
    assert why in reason(theirs.entry("u", theirs.stream(columns)))


def test_several_batches_of_a_stream_are_several_instances_and_refused() -> None:
    batch = pa.record_batch([theirs.tensor(X)], names=["t"])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
        writer.write_batch(batch)
    assert "one for each instance" in reason(theirs.entry("u", bytes(sink.getvalue())))


@pytest.mark.parametrize(("uri", "id_"), [("a:b|c", "a:b|c"), (123, "123"), ("", ""), ("ü", "ü")])
def test_a_uri_may_be_any_text_or_a_number(uri: Any, id_: str) -> None:
    assert read(theirs.entry(uri, theirs.stream({"t": theirs.tensor([1])}))).id == id_


def test_a_request_of_ours_is_one_that_their_client_could_have_written() -> None:
    request = PredictRequest("u", inputs=(from_array("a", X), from_array("b", np.float32(3))))
    assert read(CODEC.encode_request(request)) == request
    [batch] = pa.ipc.open_stream(base64.b64decode(json.loads(CODEC.encode_request(request))["data"]))
    assert batch.schema.field("a").type == theirs.TENSOR
    assert batch.num_rows == 4


def test_no_bytes_are_recognised_without_being_asked_for() -> None:
    assert not CODEC.recognises(theirs.entry("u", theirs.stream({"t": theirs.tensor([1])})))


def test_undecodable_is_what_a_broken_record_is_called() -> None:
    with pytest.raises(Undecodable):
        read(theirs.entry("u", b"ARROW1\0\0garbage"))
