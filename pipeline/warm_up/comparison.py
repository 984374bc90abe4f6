"""Whether a servable's outputs are those that were expected, and where they are not. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.tensors import Array, Tensor

# Where a record names no tolerance: what another processor, thread count or batch size may change. All else is exact.
FP_RTOL: Final = 1e-3
FP_ATOL: Final = 1e-5
_TEXT_CHARACTERS: Final = 60


@dataclass(frozen=True)
class Difference:
    """The first output that is not as expected; the fields are those of GoldenMismatch."""

    reason: str
    tensor: str
    element: tuple[int, ...] = ()
    expected: str = ""
    got: str = ""
    tolerance: float = 0.0
    bad_elements: int = 0
    elements: int = 0
    max_abs_error: float = math.nan


def compare(
    got: Sequence[Tensor], expected: Sequence[Tensor], rtol: float | None, atol: float | None
) -> Difference | None:
    """Return the first difference, None where there is none.

    Names, datatypes and shapes must be the same. A number passes when |got - expected| <= atol + rtol * |expected|, NaN
    equals NaN, an infinity equals itself only; BOOL and BYTES must be equal. A tolerance of None is that of the
    datatype. An expected tensor without a name stands for the only output.
    """
    answered = {tensor.name: tensor for tensor in got}
    for wanted in expected:
        is_only = not wanted.name and len(got) == len(expected) == 1
        found = got[0] if is_only else answered.pop(wanted.name, None)
        if found is None:
            return Difference("is missing", wanted.name, (), wanted.name, ", ".join(answered) or "no other")
        difference = _compare_tensors(found, wanted, rtol, atol)
        if difference is not None:
            return difference
        if is_only:
            return None
    for name in answered:
        return Difference("is one too many", name, (), ", ".join(tensor.name for tensor in expected), name)
    return None


def _compare_tensors(got: Tensor, expected: Tensor, rtol: float | None, atol: float | None) -> Difference | None:
    if got.datatype != expected.datatype:
        return Difference("has another datatype", got.name, (), expected.datatype, got.datatype)
    if got.shape != expected.shape:
        return Difference("has another shape", got.name, (), str(list(expected.shape)), str(list(got.shape)))
    ours, theirs = got.array().ravel(), expected.array().ravel()
    errors, allowed = _errors(ours, theirs), _allowed(theirs, rtol, atol)
    bad = np.flatnonzero(~(_are_equal(ours, theirs) | (errors <= allowed)))
    if not len(bad):
        return None
    first = int(bad[0])
    return Difference(
        "is not as expected",
        got.name,
        tuple(int(axis) for axis in np.unravel_index(first, got.shape)),
        _text(theirs[first]),
        _text(ours[first]),
        float(allowed[first]),
        len(bad),
        len(ours),
        float(np.max(errors[bad])),
    )


def _are_equal(got: Array, expected: Array) -> Array:
    equal = np.asarray(got == expected, np.bool_)
    return equal | (np.isnan(got) & np.isnan(expected)) if got.dtype.kind == "f" else equal


def _errors(got: Array, expected: Array) -> Array:
    """Return |got - expected| [elements]; NaN for what is no number, infinity where only one of the two is finite."""
    if got.dtype.kind in "bO":
        return np.full(len(got), math.nan)
    if got.dtype.kind == "f":
        with np.errstate(over="ignore", invalid="ignore"):
            errors = np.abs(got.astype(np.float64) - expected.astype(np.float64))
        return np.where(np.isnan(errors), math.inf, errors)
    # Exact over the whole range of 64 bits: the difference modulo 2^64 of the larger and the smaller is their distance.
    larger, smaller = np.maximum(got, expected), np.minimum(got, expected)
    return larger.astype(np.uint64) - smaller.astype(np.uint64)


def _allowed(expected: Array, rtol: float | None, atol: float | None) -> Array:
    """Return the tolerance of each element, 0 for what has to be equal."""
    kind = expected.dtype.kind
    if kind in "bO":
        return np.zeros(len(expected))
    if rtol is None:
        rtol = FP_RTOL if kind == "f" else 0.0
    if atol is None:
        atol = FP_ATOL if kind == "f" else 0.0
    magnitude = np.abs(expected.astype(np.float64))
    is_near_something = np.isfinite(magnitude)  # nothing is near an infinity or NaN
    return np.where(is_near_something, atol + rtol * np.where(is_near_something, magnitude, 0.0), 0.0)


def _text(value: object) -> str:
    text = str(value)
    return text if len(text) <= _TEXT_CHARACTERS else f"{text[:_TEXT_CHARACTERS]}..."
