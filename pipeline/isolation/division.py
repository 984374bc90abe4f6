"""How one call is divided among processes by its rows, and their answers joined again: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from pipeline.description import Signature
from pipeline.tensors import Array, more_rows

Arrays = Mapping[str, Array]


class Share(NamedTuple):
    """The rows of a call from ``start`` to ``end``, which one process computes as ``size`` rows."""

    start: int
    end: int
    size: int


def rows_of(signature: Signature | None, inputs: Arrays) -> int:
    """Return into how many parts a call can be divided: its rows, where it may have any number of them."""
    if signature is None or not signature.batched:
        return 1
    if any(spec.shape[:1] != (-1,) for spec in (*signature.inputs, *signature.outputs)):
        return 1
    lengths = {array.shape[0] if array.ndim else 0 for array in inputs.values()}
    return max(1, lengths.pop()) if len(lengths) == 1 else 1


def shares(rows: int, count: int, sizes: Sequence[int]) -> list[Share]:
    """Return the rows of ``count`` processes at most, in order, about as many each.

    Where ``sizes``, which increase, are given, each share has one of them, as long as the largest is enough.
    """
    each = -(-rows // count)
    if not sizes or each > sizes[-1]:
        ends = [rows * part // count for part in range(count + 1)]
        return [Share(start, end, end - start) for start, end in pairwise(ends)]
    each = _size(each, sizes)
    starts = range(0, rows, each)
    return [Share(start, min(start + each, rows), _size(min(each, rows - start), sizes)) for start in starts]


def inputs_of(share: Share, inputs: Arrays) -> Arrays:
    """Return the inputs of a share, its last row repeated until they are as many as its size."""
    parts = {name: array[share.start : share.end] for name, array in inputs.items()}
    if share.size == share.end - share.start:
        return parts
    return {name: more_rows(array, share.size) for name, array in parts.items()}


def joined(shares_: Sequence[Share], results: Sequence[Arrays]) -> Arrays:
    """Return the outputs of all shares, joined, without the rows that were repeated."""
    kept = [_kept(share, result) for share, result in zip(shares_, results, strict=True)]
    return kept[0] if len(kept) == 1 else {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}


def _kept(share: Share, result: Arrays) -> Arrays:
    rows = share.end - share.start
    if share.size == rows:
        return result
    # One of another length is not cut: whoever asked refuses it.
    return {name: array[:rows] if array.shape[:1] == (share.size,) else array for name, array in result.items()}


def _size(rows: int, sizes: Sequence[int]) -> int:
    return next(size for size in sizes if size >= rows)
