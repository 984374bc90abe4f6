"""What a LightGBM text model says of itself, checked: LightGBM follows the indices and sizes in it without looking."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import chain, compress
from typing import Final

import msgspec
import numpy as np

from pipeline.servables.decision_trees import LEAF, check_walks
from pipeline.tensors import Array

_END: Final = b"end of trees"
_LINES_OF_NUMBERS: Final = re.compile(rb"(?:\w+=[-+0-9.einfaEINFA ]*+\n|\n)*+")
_MAX_FEATURES: Final = 10_000_000
# Bits of a node's decision_type: it splits by category, which missing value it knows.
_CATEGORICAL: Final = 1
_PER_SPLIT: Final = [
    "split_feature",
    "split_gain",
    "threshold",
    "decision_type",
    "left_child",
    "right_child",
    "internal_value",
    "internal_weight",
    "internal_count",
]
_PER_LEAF: Final = ("leaf_value", "leaf_weight", "leaf_count", "leaf_const", "num_features")


class LightgbmModel(msgspec.Struct, frozen=True):
    """What a servable needs to know; ``outputs`` numbers come out for a row, ``rounds`` were trained.

    ``text`` is the model as far as predictions need it. What LightGBM writes after the trees (importances, parameters
    of the training, categories of a data frame) is left out: it dies of parameters that are cut off.
    """

    objective: str
    features: int
    outputs: int
    rounds: int
    text: str


class _Splits(msgspec.Struct):
    """The children of the inner nodes of one tree; those below 0 are leaves."""

    left: list[int]
    right: list[int]


def examine(data: bytes) -> LightgbmModel:
    """Return what a model file says of itself.

    Raises ValueError where LightGBM would read or write where nothing is, or never come to an end: child, leaf, feature
    and category indices, and every length that has to agree with another. A tree at a time, so that other threads run.
    """
    if b"\r" in data or b"\0" in data:
        raise ValueError("it holds carriage returns or NUL bytes; copy it as it was written")
    head, offset = _header(data)
    features, outputs, objective = _check_header(head)
    sizes = _integers(head.get("tree_sizes", b""), "tree_sizes")
    if len(sizes) % outputs or min(sizes, default=1) < 1 or sum(sizes) > len(data) - offset:
        raise ValueError("tree_sizes do not fit the file")
    trees = []
    for number, size in enumerate(sizes):
        splits = _check_tree(number, data[offset : offset + size], features)
        if splits.left:
            trees.append(splits)
        offset += size
    if data[offset : offset + len(_END)] != _END:
        raise ValueError(f"the trees are not as long as tree_sizes says, or {_END.decode()!r} is missing")
    text = data[: offset + len(_END)].decode() + "\n"
    if trees:
        left, right = (_joined([getattr(tree, side) for tree in trees]) for side in ("left", "right"))
        check_walks(left, right, np.array([len(tree.left) for tree in trees]))
    return LightgbmModel(objective.partition(" ")[0], features, outputs, len(sizes) // outputs, text)


def _header(data: bytes) -> tuple[dict[str, bytes], int]:
    """Return the lines before the first tree, and where the trees begin."""
    end = data.find(b"\n\nTree=")
    end = data.find(b"\n\n" + _END) if end < 0 else end
    if end < 0 or not data.startswith(b"tree\n"):
        raise ValueError("it does not begin as a LightGBM model, or has no trees")
    head = _lines(data[len(b"tree\n") : end])
    if not head.get("version", b"").startswith(b"v"):
        raise ValueError("it has no version")
    return head, end + 2


def _check_header(head: Mapping[str, bytes]) -> tuple[int, int, str]:
    """Return the numbers of features and of outputs, and the objective with its parameters."""
    features = _count(head, "max_feature_idx", 0, _MAX_FEATURES) + 1
    outputs = _count(head, "num_tree_per_iteration", 1, 1 << 20)
    if _count(head, "num_class", 1, 1 << 20) != outputs:
        raise ValueError(f"num_class is not num_tree_per_iteration, which is {outputs}")
    for key in ("feature_names", "feature_infos"):
        if len(head.get(key, b"").split(b" ")) != features:
            raise ValueError(f"{key} are not {features}, which max_feature_idx says")
    objective = head.get("objective", b"").decode()
    for number in re.findall(r"num_class:(\S*)", objective):
        if number != str(outputs):
            raise ValueError(f"the objective has num_class:{number}, expected {outputs}")
    return features, outputs, objective


def _lines(block: bytes) -> dict[str, bytes]:
    parts = [line.partition(b"=") for line in block.split(b"\n")]
    pairs = [(key.decode(), value) for key, _, value in parts if key]
    lines = dict(pairs)
    if len(lines) != len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)} stands twice")
    return lines


def _check_tree(number: int, block: bytes, features: int) -> _Splits:
    what = f"tree {number}"
    if not _LINES_OF_NUMBERS.fullmatch(block):
        raise ValueError(f"{what} holds more than numbers")
    lines = _lines(block)
    if lines.pop("Tree", b"") != str(number).encode():
        raise ValueError(f"{what} does not stand where tree_sizes says")
    leaves = _count(lines, "num_leaves", 1, len(block))
    for keys, expected in ((_PER_SPLIT, leaves - 1), (_PER_LEAF, leaves)):
        for key in keys:
            text = lines.get(key, b"")
            if not text and key not in lines and key not in _NEEDED:
                continue
            got = _length(text)
            if got != expected and (leaves > 1 or got or key in _NEEDED):
                raise ValueError(f"{what}: {key} has {got} numbers, expected {expected}")
    arrays = {key: _integers(lines[key], key) if lines.get(key) else [] for key in _INTEGERS}
    _check_splits(what, lines, arrays, features, leaves)
    _check_linear(what, lines, arrays, features)
    return _Splits(arrays["left_child"], arrays["right_child"])


def _joined(children: list[list[int]]) -> Array:
    return np.maximum(np.array(list(chain.from_iterable(children)), np.int64), LEAF)


_NEEDED: Final = ("split_feature", "threshold", "decision_type", "left_child", "right_child", "leaf_value")
_INTEGERS: Final = (
    "split_feature", "decision_type", "left_child", "right_child", "cat_boundaries", "cat_threshold", "num_features",
    "leaf_features",
)  # fmt: skip


def _check_splits(
    what: str, lines: Mapping[str, bytes], arrays: Mapping[str, list[int]], features: int, leaves: int
) -> None:
    if not _all_in(arrays["split_feature"], 0, features):
        raise ValueError(f"{what} splits on a feature that is none of the {features}")
    for side in ("left_child", "right_child"):
        if min(arrays[side], default=0) < -leaves:
            raise ValueError(f"{what}: {side} names a leaf that is none of the {leaves}")
    kinds = arrays["decision_type"]
    if not _all_in(kinds, 0, 16):
        raise ValueError(f"{what}: a decision_type is not between 0 and 15")
    categorical = [kind & _CATEGORICAL for kind in kinds]
    count, ends = _count(lines, "num_cat", 0, leaves), arrays["cat_boundaries"]
    if count == 0:
        if any(categorical):
            raise ValueError(f"{what} splits by category and has none")
        return
    words = len(arrays["cat_threshold"])
    if len(ends) != count + 1 or ends[0] != 0 or ends[-1] != words or sorted(ends) != ends:
        raise ValueError(f"{what}: cat_boundaries do not divide the {words} words of cat_threshold")
    chosen = [float(text) for text in compress(lines["threshold"].split(), categorical)]
    if not all(0 <= number < count for number in chosen):
        raise ValueError(f"{what}: a split by category has none of the {count} sets")


def _check_linear(what: str, lines: Mapping[str, bytes], arrays: Mapping[str, list[int]], features: int) -> None:
    if lines.get("is_linear", b"0") == b"0":
        return
    used, counts = arrays["leaf_features"], arrays["num_features"]
    coefficients = len(lines.get("leaf_coeff", b"").split())
    if not counts or min(counts) < 0 or not sum(counts) == len(used) == coefficients:
        raise ValueError(f"{what}: leaf_features and leaf_coeff are not as many as num_features says")
    if "leaf_const" not in lines or not _all_in(used, 0, features):
        raise ValueError(f"{what}: a leaf computes with a feature that is none of the {features}")


def _length(text: bytes) -> int:
    """Return how many numbers there are; 2^31 where they do not stand with one space between them."""
    if b"  " in text or text[:1] == b" " or text[-1:] == b" ":
        return 1 << 31
    return text.count(b" ") + 1 if text else 0


def _all_in(numbers: list[int], first: int, end: int) -> bool:
    return not numbers or (first <= min(numbers) and max(numbers) < end)


def _integers(text: bytes, what: str) -> list[int]:
    try:
        return list(map(int, text.split()))
    except ValueError as error:
        raise ValueError(f"{what} is no list of integers") from error


def _count(lines: Mapping[str, bytes], key: str, least: int, most: int) -> int:
    text = lines.get(key, b"")
    if not (text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise ValueError(f"{key} is {text[:20].decode('utf-8', 'replace')!r}, expected a number from {least} to {most}")
    return int(text)
