"""Stacking and splitting are inverse, and the wire form is the protocol's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, strategies as st

from pipeline.errors import Undecodable
from pipeline.tensors import DTYPES, Tensor, datatype_of, from_array, split, stack
from pipeline.testing.strategies import tensors


@given(tensors())
def test_the_wire_form_is_valid_and_comes_back(tensor: Tensor) -> None:
    tensor.check()
    again = from_array(tensor.name, tensor.array())
    assert again == tensor


@pytest.mark.parametrize("datatype", DTYPES)
@given(rows=st.lists(st.integers(0, 3), min_size=1, max_size=5), tail=st.lists(st.integers(0, 3), max_size=2))
def test_split_undoes_stack(datatype: str, rows: list[int], tail: list[int]) -> None:
    shapes = [(n, *tail) for n in rows]
    parts = [from_array("x", np.full(shape, b"ab" if datatype == "BYTES" else 1, DTYPES[datatype])) for shape in shapes]
    assert split("x", stack(parts), rows) == parts


def test_byte_order_and_layout_of_the_source_do_not_matter() -> None:
    plain = np.arange(6, dtype="<i4").reshape(2, 3)
    for other in (plain.astype(">i4"), np.asfortranarray(plain), plain[:, ::1]):
        assert from_array("x", other) == from_array("x", plain)


def test_text_becomes_bytes_and_what_the_protocol_lacks_is_refused() -> None:
    assert from_array("x", np.array(["é"])).array().tolist() == ["é".encode()]
    with pytest.raises(TypeError, match="complex"):
        datatype_of(np.dtype(np.complex64))


@pytest.mark.parametrize(
    "tensor",
    [
        Tensor("x", "FP32", (2,), b"1234"),
        Tensor("x", "FP32", (-1, -1), b"1234"),
        Tensor("x", "FP128", (1,), b"1234"),
        Tensor("x", "BYTES", (1,), b"\x09\0\0\0a"),
        Tensor("x", "BYTES", (2,), b"\x01\0\0\0a"),
        Tensor("x", "BYTES", (-1,), b"\x01\0\0\0a"),
        Tensor("x", "BYTES", (1,), b"\x01"),
    ],
    ids=str,
)
def test_a_shape_that_disagrees_with_its_bytes_is_refused(tensor: Tensor) -> None:
    with pytest.raises(Undecodable):
        tensor.check()
