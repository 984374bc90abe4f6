"""Their client turns each result into the array that the servable returned."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as numpy_strategies

from pipeline.codecs.cluster_serving import ClusterServingCodec, results
from pipeline.errors import NotRepresentable, Undecodable
from pipeline.records import Error, PredictResult
from pipeline.tensors import from_array
from tests.unit.codecs.ancestor_bytes import decoded

CODEC = ClusterServingCodec()
NUMBERS = ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"]


def written(*arrays: Any) -> bytes:
    return results.write([(f"o{place}", np.asarray(array)) for place, array in enumerate(arrays)])


@given(
    st.sampled_from(NUMBERS).flatmap(
        lambda dtype: numpy_strategies.arrays(dtype, numpy_strategies.array_shapes(min_dims=0, max_dims=6, max_side=4))
    )
)
def test_an_array_comes_back_with_its_datatype_its_shape_and_its_elements(array: Any) -> None:
    got = decoded(written(array))
    assert got.dtype == (np.uint8 if array.dtype == bool else array.dtype)
    if array.ndim <= array.size:
        assert got.shape == array.shape
    assert [axis for axis in got.shape if axis > 1] == [axis for axis in array.shape if axis > 1]
    assert got.tobytes() == np.ascontiguousarray(array).tobytes()


@pytest.mark.parametrize(
    ("shape", "got"), [((1, 1, 2), (1, 2)), ((1, 1), (1,)), ((), ()), ((1, 1, 1, 3), (1, 1, 3)), ((2, 1, 1), (2, 1))]
)
def test_axes_are_left_out_where_a_shape_is_longer_than_its_data(shape: Any, got: Any) -> None:
    assert decoded(written(np.ones(shape))).shape == got


def test_several_outputs_are_a_list_in_the_datatype_that_holds_them_all() -> None:
    got = decoded(written(np.float32([[1, 2]]), np.int8([7])))
    assert [it.tolist() for it in got] == [[[1, 2]], [7]]
    assert {it.dtype for it in got} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("outputs", "why"),
    [
        ((np.int64([1, 2**53 + 1]), np.uint64([7])), "element 1 of output 'o0' is 9007199254740993, which is no FP64"),
        ((np.int64([-1]), np.uint64([2**64 - 1])), "element 0 of output 'o1' is 18446744073709551615"),
        ((np.int64([2**63 - 1]), np.float32([0.5])), "element 0 of output 'o0' is 9223372036854775807"),
    ],
)
def test_a_whole_number_that_the_shared_datatype_would_change_is_refused(outputs: Any, why: str) -> None:
    with pytest.raises(NotRepresentable, match=why):
        written(*outputs)


@given(
    st.lists(st.sampled_from(NUMBERS).flatmap(lambda dtype: numpy_strategies.arrays(dtype, 3)), min_size=2, max_size=3)
)
def test_several_outputs_keep_each_of_their_numbers_or_are_refused(arrays: Any) -> None:
    try:
        got = decoded(written(*arrays))
    except NotRepresentable:
        return
    for array, result in zip(arrays, got, strict=True):
        # As Python compares them: exactly, whatever their types.
        assert all(a == b or np.isnan(a) for a, b in zip(array.tolist(), result.tolist(), strict=True))


def test_large_results_are_not_remembered_and_are_right_all_the_same() -> None:
    array = np.arange(100_000, dtype=np.float32).reshape(10, -1)
    assert (decoded(written(array)) == array).all()


def test_arrays_of_any_layout_and_byte_order_are_written() -> None:
    array = np.arange(6, dtype=">i4").reshape(2, 3).T
    assert decoded(written(array)).tolist() == array.tolist()


@pytest.mark.parametrize(
    ("array", "why"), [(np.zeros((0, 3)), "no elements"), (np.array([b"a"], object), "text"), (np.array(["a"]), "text")]
)
def test_what_has_no_form_there_is_refused(array: Any, why: str) -> None:
    with pytest.raises(NotRepresentable, match=why):
        written(array)


def test_an_error_and_what_has_no_form_are_nan() -> None:
    failed = PredictResult("u", "m", error=Error("model_error", "thirteen", retriable=False))
    assert CODEC.encode_result(failed) == b"NaN"
    assert CODEC.encode_result(PredictResult("u", "m", outputs=(from_array("y", np.array(["a"])),))) == b"NaN"
    assert CODEC.encode_result(PredictResult("u", "m")) == b"NaN"
    assert CODEC.decode_result(b"NaN").error is not None


def test_results_are_read_again() -> None:
    outputs = (from_array("output_0", np.float32([[1, 2]])), from_array("output_1", np.float32([3])))
    assert CODEC.decode_result(CODEC.encode_result(PredictResult("", "", outputs=outputs))).outputs == outputs


@given(st.binary(max_size=100))
def test_any_bytes_are_a_result_or_undecodable(data: bytes) -> None:
    try:
        CODEC.decode_result(data)
    except Undecodable:
        return
    assert data == b"NaN"
