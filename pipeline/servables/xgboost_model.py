"""What an XGBoost model file says of itself, checked: XGBoost follows the indices in it without looking."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import msgspec
import numpy as np

from pipeline.servables.decision_trees import LEAF, check_walks
from pipeline.tensors import Array

_MAX_CATEGORY: Final = 1 << 24  # XGBoost's own limit
_MAX_CATEGORY_BITS: Final = 1 << 31  # it keeps a bit for each category below the largest, for each split
_PER_NODE: Final = ("left_children", "right_children", "split_indices", "split_conditions", "default_left")
_ALL_NODES: Final = (*_PER_NODE, "parents", "base_weights", "sum_hessian", "loss_changes")
_CATEGORIES: Final = ("categories", "categories_nodes", "categories_segments", "categories_sizes")
_NONE: Final = np.empty(0, np.int64)


class XgboostModel(msgspec.Struct, frozen=True):
    """What a servable needs to know; ``outputs`` numbers come out for a row, ``rounds`` were trained."""

    booster: str
    objective: str
    features: int
    outputs: int
    rounds: int
    best_rounds: int | None


def examine(tree: Any) -> XgboostModel:
    """Return what the content of a model file says, as ``xgboost_json.read`` gives it.

    Raises ValueError, KeyError, TypeError or OverflowError where XGBoost would read or write where nothing is, or never
    come to an end: child, feature, group and category indices, and every length that has to agree with another.
    """
    learner = tree["learner"]
    params, gradient = learner["learner_model_param"], learner["gradient_booster"]
    features = _count(params["num_feature"], "num_feature", 1)
    classes = _count(params["num_class"], "num_class", 0)
    outputs = max(classes, _count(params.get("num_target", "1"), "num_target", 0), 1)
    _same("feature_names", len(learner.get("feature_names", ())), 0, features)
    _same("feature_types", len(learner.get("feature_types", ())), 0, features)
    objective = learner["objective"]
    if "softmax_multiclass_param" in objective:
        _same("num_class of the objective", int(objective["softmax_multiclass_param"]["num_class"]), max(classes, 1))
    name = str(gradient["name"])
    if name == "gblinear":
        _same("number of weights", len(gradient["model"]["weights"]), (features + 1) * outputs)
        rounds = 0
    elif name in {"gbtree", "dart"}:
        rounds = _check_trees((gradient["gbtree"] if name == "dart" else gradient)["model"], features, outputs)
        if name == "dart":
            _same("length of weight_drop", len(gradient["weight_drop"]), len(gradient["gbtree"]["model"]["trees"]))
    else:
        raise ValueError(f"booster {name!r}, expected gbtree, dart or gblinear")
    return XgboostModel(name, str(objective["name"]), features, outputs, rounds, _best(learner, rounds))


def _best(learner: Any, rounds: int) -> int | None:
    """Return how many rounds there were up to the best one, None where training recorded none."""
    best = learner.get("attributes", {}).get("best_iteration")
    if best is None or not rounds:
        return None
    return min(_count(best, "best_iteration", 0) + 1, rounds)


def _check_trees(model: Any, features: int, outputs: int) -> int:
    """Return the number of rounds."""
    trees, params, groups = model["trees"], model["gbtree_model_param"], _integers(model["tree_info"], "tree_info")
    _same("num_trees", int(params["num_trees"]), len(trees))
    _same("length of tree_info", len(groups), len(trees))
    if groups.size and not 0 <= int(groups.min()) <= int(groups.max()) < outputs:
        raise ValueError(f"tree_info names group {int(groups.max())} of {outputs}")
    if outputs > max(len(trees), 1):
        raise ValueError(f"{outputs} outputs of {len(trees)} trees")
    if len(trees):
        _check_nodes(trees, features)
    a_round = _count(params.get("num_parallel_tree", "1"), "num_parallel_tree", 0) or 1
    if "iteration_indptr" not in model:  # as before XGBoost 2
        return -(-len(trees) // (a_round * outputs))
    ends = _integers(model["iteration_indptr"], "iteration_indptr")
    if ends.size < 1 or ends[0] != 0 or ends[-1] != len(trees) or (np.diff(ends) < 0).any():
        raise ValueError(f"iteration_indptr does not run from 0 to the {len(trees)} trees")
    _check_categories_of_the_data(model.get("cats", {}))
    return len(ends) - 1


def _check_nodes(trees: Sequence[Any], features: int) -> None:
    for place, tree in enumerate(trees):
        nodes = len(tree["left_children"])
        _same(f"tree {place}: num_nodes", int(tree["tree_param"]["num_nodes"]), nodes)
        _same(f"tree {place}: num_feature", int(tree["tree_param"]["num_feature"]), features, 0)
        if int(tree["tree_param"].get("size_leaf_vector", "1")) > 1:
            raise ValueError(f"tree {place} has vectors for leaves; train with multi_strategy one_output_per_tree")
        for key in _ALL_NODES:
            if len(tree[key]) != nodes:
                raise ValueError(f"tree {place}: length of {key} is {len(tree[key])}, expected {nodes}")
    _check_all_categories(trees)
    left, right, features_used = (_joined(trees, key) for key in _PER_NODE[:3])
    leaves = left == LEAF
    if ((right == LEAF) != leaves).any():
        raise ValueError("a node has one child only")
    if ((features_used[~leaves] < 0) | (features_used[~leaves] >= features)).any():
        raise ValueError(f"a split is on a feature that is none of the {features}")
    check_walks(left, right, np.array([len(tree["left_children"]) for tree in trees]))


def _check_all_categories(trees: Sequence[Any]) -> None:
    """Look at the trees together first: most models have no categories, and are done."""
    typed = [(place, tree) for place, tree in enumerate(trees) if "split_type" in tree]
    for place, tree in typed:
        if len(tree["split_type"]) not in (0, len(tree["left_children"])):
            raise ValueError(f"tree {place}: length of split_type is {len(tree['split_type'])}")
    named = any(len(tree.get(name, ())) for _, tree in typed for name in _CATEGORIES)
    if named or (typed and _joined([tree for _, tree in typed], "split_type").any()):
        for place, tree in typed:
            _check_categories(place, tree, len(tree["left_children"]))


def _check_categories(place: int, tree: Any, nodes: int) -> None:
    types = _integers(tree["split_type"], f"tree {place}: split_type")
    _same(f"tree {place}: length of split_type", types.size, nodes, 0)
    lists = [_integers(tree.get(name, []), f"tree {place}: {name}") for name in _CATEGORIES]
    categories, owners, starts, sizes = lists
    if not np.array_equal(np.flatnonzero(types), owners) or not (owners.size == starts.size == sizes.size):
        raise ValueError(f"tree {place}: categories_nodes are not the nodes that split by category")
    if categories.size and not 0 <= int(categories.min()) <= int(categories.max()) < _MAX_CATEGORY:
        raise ValueError(f"tree {place}: a category is not between 0 and {_MAX_CATEGORY}")
    if not np.array_equal(np.cumsum(sizes) - sizes, starts) or int(sizes.sum()) != categories.size or (sizes < 0).any():
        raise ValueError(f"tree {place}: categories_segments do not divide the categories")
    if owners.size * (int(categories.max()) if categories.size else 0) > _MAX_CATEGORY_BITS:
        raise ValueError(f"tree {place}: its categories need more than {_MAX_CATEGORY_BITS >> 23} MiB")


def _check_categories_of_the_data(cats: Any) -> None:
    """Numbers come without names of categories: a model that would translate those is none for them."""
    if len(cats.get("enc", ())) or len(cats.get("sorted_idx", ())):
        raise ValueError("it holds the categories of a data frame; train on their codes instead (feature_types c)")


def _joined(trees: Sequence[Any], key: str) -> Array:
    columns = [tree[key] for tree in trees]
    if all(isinstance(column, list) for column in columns):
        return _integers(list(chain.from_iterable(columns)), key)
    return _integers(np.concatenate([column if len(column) else _NONE for column in columns]), key)


def _integers(values: Any, what: str) -> Array:
    array = np.asarray(values)
    if array.size == 0:
        return np.empty(0, np.int64)
    if array.dtype.kind not in "iu" or array.ndim != 1:
        raise ValueError(f"{what} is no list of integers")
    return array.astype(np.int64)


def _count(text: Any, what: str, least: int) -> int:
    if not (isinstance(text, str) and text.isascii() and text.isdigit() and len(text) < 10 and int(text) >= least):
        raise ValueError(f"{what} is {text!r}, expected a number from {least}")
    return int(text)


def _same(what: str, got: int, *expected: int) -> None:
    if got not in expected:
        raise ValueError(f"{what} is {got}, expected {' or '.join(map(str, dict.fromkeys(expected)))}")
