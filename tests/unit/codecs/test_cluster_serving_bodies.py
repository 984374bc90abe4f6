"""Bodies of the HTTP front end: taken apart as they came, and answered so that their client reads the array."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as numpy_strategies

from pipeline.codecs.cluster_serving import ClusterServingCodec, entry, instances, predictions
from pipeline.codecs.cluster_serving.entry import Entry
from pipeline.codecs.codec import Limits
from pipeline.errors import Undecodable
from pipeline.tensors import from_array
from tests.unit.codecs.ancestor_bytes import http_decoded

NUMBERS = ["u1", "u2", "u4", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@given(st.lists(st.dictionaries(st.text(), JSON), min_size=1), st.dictionaries(st.text(), JSON))
def test_each_instance_stands_alone_as_it_came(found: list[Any], more: dict[str, Any]) -> None:
    body = json.dumps({**more, "instances": found}, ensure_ascii=len(found) % 2 == 0).encode()
    assert [json.loads(text) for text in instances.split(body)] == [{"instances": [each]} for each in found]


@given(
    st.binary()
    | JSON.map(lambda it: json.dumps(it).encode())
    | JSON.map(lambda it: json.dumps({"instances": it}).encode())
)
def test_whatever_is_no_body_is_refused_as_that(body: bytes) -> None:
    try:
        texts = instances.split(body)
    except Undecodable:
        return
    assert len(texts) == len(json.loads(body)["instances"])


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "no JSON"),
        (b"[]", "no JSON with 'instances'"),
        (b'{"inputs": {"x": 1}}', "instances"),
        (b'{"instances": []}', "is empty"),
        (b'{"instances": [{"x": 1}, [2]]}', "instance 1 is no object"),
        (b'{"instances": [{"x": \xff}]}', "no JSON"),
        (b'{"instances": [{"x": "\xff"}]}', "utf-8"),
        (b'{"instances": ' + b"[" * 100_000, "no JSON"),
    ],
)
def test_a_refusal_says_what_is_wrong(body: bytes, why: str) -> None:
    with pytest.raises(Undecodable) as refused:
        instances.split(body)
    assert why in str(refused.value)


def test_an_instance_is_an_entry_that_a_worker_reads() -> None:
    [text, _] = instances.split(b'{"instances": [{"ids": [16777217, 2], "tag": ["a", "b"]}, {}]}')
    request = ClusterServingCodec().decode_request(entry.write(Entry("u", text, entry.STREAM)), Limits())
    assert [tensor.array().tolist() for tensor in request.inputs] == [[16777217, 2], [b"a", b"b"]]


@given(
    st.sampled_from(NUMBERS).flatmap(
        lambda dtype: numpy_strategies.arrays(dtype, numpy_strategies.array_shapes(min_dims=0, max_dims=4, max_side=4))
    )
)
def test_their_client_reads_the_array_with_its_shape(array: Any) -> None:
    got = http_decoded(predictions.write([[from_array("y", array)]]))
    assert got.shape == array.shape
    assert np.array_equal(got.astype(array.dtype), array, equal_nan=array.dtype.kind == "f")


def test_whole_numbers_stay_whole() -> None:
    text = predictions.write([[from_array("y", np.uint64([0, 2**64 - 1]))]]).decode()
    assert json.loads(json.loads(json.loads(text)["predictions"][0])["value"])["data"] == [0, 2**64 - 1]


def test_numbers_that_are_none_come_back_as_they_are() -> None:
    got = http_decoded(predictions.write([[from_array("y", np.float32([np.nan, np.inf, -np.inf, 1]))]]))
    assert str(got.tolist()) == "[nan, inf, -inf, 1.0]"


def test_a_large_array_is_written_in_parts_and_whole() -> None:
    array = np.arange(10_001, dtype=np.int32)
    assert (http_decoded(predictions.write([[from_array("y", array)]])) == array).all()


def test_there_is_a_prediction_for_each_instance_and_a_list_of_several_outputs() -> None:
    one, two = from_array("a", np.float32([[1, 2]])), from_array("b", np.float32([3]))
    found = json.loads(predictions.write([[one, two], [two]]))["predictions"]
    values = [json.loads(json.loads(each)["value"]) for each in found]
    assert values == [
        [{"data": [1, 2], "shape": [1, 2]}, {"data": [3], "shape": [1]}],
        {"data": [3], "shape": [1]},
    ]
