"""What counts as the expected output, case by case."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.tensors import from_array
from pipeline.warm_up.comparison import Difference, compare

NAN, INF = np.nan, np.inf


def one(got: Any, expected: Any, dtype: Any, rtol: float | None = None, atol: float | None = None) -> Difference | None:
    tensors = [from_array("y", np.array(value, dtype)) for value in (got, expected)]
    return compare(tensors[:1], tensors[1:], rtol, atol)


@pytest.mark.parametrize(
    ("got", "expected", "dtype", "tolerances"),
    [
        ([1.0], [1.0], "f4", ()),
        ([1.0005], [1.0], "f4", ()),  # the default: 0.001 of the expected value, and 0.00001
        ([0.000005], [0.0], "f8", ()),
        ([1.0009], [1.0], "f2", ()),
        ([1.5], [1.0], "f4", (0.0, 0.5)),
        ([NAN, INF, -INF], [NAN, INF, -INF], "f4", ()),
        ([NAN], [NAN], "f2", (0.0, 0.0)),
        ([1e308], [1e308], "f8", (1.0, 0.0)),
        ([7], [7], "i8", ()),
        ([9], [7], "i8", (0.0, 2.0)),
        ([9], [7], "u1", (None, 2.0)),
        ([-(2**63)], [-(2**63)], "i8", ()),
        ([2**64 - 1], [2**64 - 3], "u8", (0.0, 2.0)),
        ([True], [True], "?", ()),
        ([b"a", b""], [b"a", b""], object, ()),
        (3.0, 3.0, "f4", ()),  # a scalar
        (np.zeros((0, 3)), np.zeros((0, 3)), "f4", ()),
    ],
)
def test_this_is_as_expected(got: Any, expected: Any, dtype: Any, tolerances: tuple[Any, ...]) -> None:
    assert one(got, expected, dtype, *tolerances) is None


@pytest.mark.parametrize(
    ("got", "expected", "dtype", "tolerances"),
    [
        ([1.002], [1.0], "f4", ()),
        ([0.00002], [0.0], "f8", ()),
        ([np.nextafter(np.float32(1), np.float32(2))], [1.0], "f4", (0.0, 0.0)),
        ([NAN], [1.0], "f4", (9.0, 9.0)),
        ([1.0], [NAN], "f4", (9.0, 9.0)),
        ([INF], [1.0], "f4", (9.0, 9.0)),
        ([1.0], [INF], "f4", (9.0, 9.0)),
        ([-INF], [INF], "f4", (9.0, 9.0)),
        ([8], [7], "i8", ()),
        ([2**53 + 1], [2**53], "i8", ()),  # the same as a float
        ([2**63 - 1], [-(2**63)], "i8", (0.0, 1e18)),
        ([255], [0], "u1", (0.0, 200.0)),
        ([10], [7], "i8", (0.0, 2.0)),
        ([False], [True], "?", (9.0, 9.0)),
        ([b"a"], [b"b"], object, (9.0, 9.0)),
    ],
)
def test_this_is_not_as_expected(got: Any, expected: Any, dtype: Any, tolerances: tuple[Any, ...]) -> None:
    difference = one(got, expected, dtype, *tolerances)
    assert difference is not None
    assert (difference.tensor, difference.element, difference.bad_elements) == ("y", (0,), 1)


def test_the_evidence_is_the_first_bad_element_and_how_bad_they_all_are() -> None:
    expected = np.zeros((2, 3), np.float32)
    got = expected.copy()
    got[1, 0], got[1, 2] = 0.25, -4.0
    difference = one(got, expected, "f4", 0.0, 0.125)
    assert difference == Difference("is not as expected", "y", (1, 0), "0.0", "0.25", 0.125, 2, 6, 4.0)


def test_the_largest_error_is_infinite_where_only_one_side_is_finite_and_none_where_there_are_no_numbers() -> None:
    assert getattr(one([NAN], [1.0], "f4"), "max_abs_error", None) == INF
    assert np.isnan(getattr(one([b"a"], [b"b"], object), "max_abs_error", 0.0))


def test_long_values_are_cut_in_the_evidence() -> None:
    difference = one([b"a" * 1000], [b"b"], object)
    assert difference is not None
    assert len(difference.got) < 100


Y, Z = from_array("y", np.ones(2, np.float32)), from_array("z", np.ones(2, np.float32))


@pytest.mark.parametrize(
    ("got", "expected", "reason", "tensor"),
    [
        ([Y], [Y, Z], "is missing", "z"),
        ([Y, Z], [Y], "is one too many", "z"),
        ([Y], [from_array("y", np.ones(2))], "has another datatype", "y"),
        ([Y], [from_array("y", np.ones((2, 1), np.float32))], "has another shape", "y"),
        ([Y, Z], [from_array("", np.ones(2, np.float32)), Z], "is missing", ""),
    ],
)
def test_names_datatypes_and_shapes_are_those_that_were_expected(
    got: Any, expected: Any, reason: str, tensor: str
) -> None:
    difference = compare(got, expected, None, None)
    assert difference is not None
    assert (difference.reason, difference.tensor) == (reason, tensor)


def test_the_order_does_not_matter_and_one_output_needs_no_name() -> None:
    assert compare([Y, Z], [Z, Y], None, None) is None
    assert compare([Y], [from_array("", np.ones(2, np.float32))], None, None) is None
