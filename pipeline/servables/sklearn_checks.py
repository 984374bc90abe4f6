"""Fitted arrays that scikit-learn's compiled code follows without looking, checked before it is asked.

skops checks types, not what is in them: a crafted file of trusted types can make a prediction read, or write, where
nothing is. Checked are trees, histogram gradient boosting, support vector machines, nearest neighbours and k-means;
other estimators predict with numpy and scipy, which check for themselves.
"""

from __future__ import annotations

import functools
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.servables.decision_trees import LEAF, check_walks
from pipeline.tensors import Array


def check_array(data: bytes) -> None:
    """Raise ValueError unless ``data`` is an array file (``.npy``) whose header agrees with its length."""
    width = 2 if data[6:7] == b"\1" else 4  # of the header's length, which follows the magic and the version
    end = 8 + width + int.from_bytes(data[8 : 8 + width], "little")
    shape, dtype, start = _header(data[:end])
    if dtype.hasobject or math.prod(shape) * dtype.itemsize != len(data) - start:
        raise ValueError(f"an array of {dtype} {list(shape)} does not fit its {len(data)} bytes")


@functools.lru_cache(maxsize=256)  # a forest has thousands of arrays and few headers, each of which is compiled
def _header(head: bytes) -> tuple[tuple[int, ...], np.dtype[Any], int]:
    """Return shape and type of an array file by its beginning, and where the elements begin."""
    file = io.BytesIO(head)
    version = np.lib.format.read_magic(file)
    if version not in {(1, 0), (2, 0)}:
        raise ValueError(f"an array file of version {version}")
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read_header(file)
    return shape, dtype, file.tell()


def check_trees(parts: Sequence[tuple[Any, Any]]) -> None:
    """Raise ValueError unless decision trees can be made, and walked, of their arguments and states."""
    lefts, rights = [], []
    for (features, classes, outputs), state in parts:
        nodes = state["nodes"]
        if not (isinstance(outputs, int) and np.ndim(classes) == 1 and 1 <= outputs == len(classes)):
            raise ValueError("a tree has not as many numbers of classes as outputs")
        if np.min(classes) < 1 or nodes.ndim != 1 or int(state["node_count"]) != len(nodes):
            raise ValueError(f"a tree says that it has {state['node_count']} nodes, and has {nodes.shape}")
        inner = nodes["left_child"] != LEAF
        if ((nodes["feature"][inner] < 0) | (nodes["feature"][inner] >= features)).any():
            raise ValueError(f"a tree splits on a feature that is none of the {features}")
        if (nodes["right_child"][inner] == LEAF).any():
            raise ValueError("a node has one child only")
        lefts.append(nodes["left_child"].astype(np.int64))
        rights.append(np.where(inner, nodes["right_child"], LEAF).astype(np.int64))
    if lefts:
        check_walks(np.concatenate(lefts), np.concatenate(rights), np.array([len(nodes) for nodes in lefts]))


def check_estimators(estimators: Iterable[Any]) -> None:
    """Raise ValueError for an estimator whose fitted arrays do not fit each other."""
    for estimator in estimators:
        fitted = vars(estimator)
        if "tree_" in fitted:
            _same(estimator, "n_features_in_", fitted["tree_"].n_features, fitted["n_features_in_"])
        for name, check in _CHECKS.items():
            if any(kind.__name__ == name for kind in type(estimator).__mro__):
                check(estimator, fitted)


def _check_boosting(estimator: Any, fitted: Mapping[str, Any]) -> None:
    stages = np.asarray(fitted.get("estimators_", np.empty((0, 0), object)), object)
    for stage in stages.flat:
        _same(estimator, "features of a stage", stage.tree_.n_features, fitted["n_features_in_"])
    classes = fitted.get("n_classes_", 1)
    if stages.size:
        _same(estimator, "trees in a stage", stages.shape[-1], 1 if classes <= 2 else classes)
        _same(
            estimator, "trees_per_iteration", fitted.get("n_trees_per_iteration_", stages.shape[-1]), stages.shape[-1]
        )


def _check_histogram_boosting(estimator: Any, fitted: Mapping[str, Any]) -> None:
    features = fitted.get("n_features_in_", 0)
    mapper = fitted.get("_bin_mapper")
    if mapper is not None:
        _same(estimator, "features of its bins", len(mapper.is_categorical_), features)
    trees = [tree for stage in fitted.get("_predictors", ()) for tree in stage]
    for stage in fitted.get("_predictors", ()):
        _same(estimator, "trees in a stage", len(stage), fitted["n_trees_per_iteration_"])
    for tree in trees:
        nodes, sets = tree.nodes, tree.raw_left_cat_bitsets
        inner = nodes["is_leaf"] == 0
        used, by_set = nodes["feature_idx"][inner], inner & (nodes["is_categorical"] != 0)
        if nodes.ndim != 1 or ((used < 0) | (used >= features)).any():
            raise ValueError(f"a tree splits on a feature that is none of the {features}")
        if sets.ndim != 2 or sets.shape[1] != 8 or (nodes["bitset_idx"][by_set] >= len(sets)).any():
            raise ValueError("a split by category has no set of categories")
        if ((nodes["left"][inner] == 0) | (nodes["right"][inner] == 0)).any():
            raise ValueError("a node is its own ancestor")
    if trees:
        left, right = (_histogram_children(trees, side) for side in ("left", "right"))
        check_walks(left, right, np.array([len(tree.nodes) for tree in trees]))


def _histogram_children(trees: Sequence[Any], side: str) -> Array:
    return np.concatenate(
        [np.where(tree.nodes["is_leaf"] != 0, LEAF, tree.nodes[side].astype(np.int64)) for tree in trees]
    )


def _check_support_vectors(estimator: Any, fitted: Mapping[str, Any]) -> None:
    if "support_vectors_" not in fitted:
        return
    counts, vectors = np.asarray(fitted["_n_support"]), fitted["support_vectors_"]
    is_classifier = hasattr(estimator, "classes_")
    classes = len(estimator.classes_) if is_classifier else 2
    pairs = classes * (classes - 1) // 2
    if getattr(estimator, "kernel", "") != "precomputed":
        _same(estimator, "features of its vectors", vectors.shape[1], fitted["n_features_in_"])
    _same(estimator, "support_", len(fitted["support_"]), vectors.shape[0])
    _same(estimator, "dual_coef_", fitted["_dual_coef_"].shape, (classes - 1, vectors.shape[0]))
    _same(estimator, "intercept_", fitted["_intercept_"].shape, (pairs,))
    _same(estimator, "_n_support", counts.shape, (classes,))
    if is_classifier:
        _same(estimator, "sum of _n_support", int(counts.sum()), vectors.shape[0])
        if (counts < 0).any():
            raise ValueError("a class has a negative number of support vectors")
        for name in ("_probA", "_probB"):
            if name in fitted and np.size(fitted[name]):
                _same(estimator, name, np.shape(fitted[name]), (pairs,))


def _check_neighbours(estimator: Any, fitted: Mapping[str, Any]) -> None:
    points = fitted.get("_fit_X")
    if points is None:
        return
    _same(estimator, "points", points.shape, (fitted["n_samples_fit_"], fitted["n_features_in_"]))
    answers = fitted.get("_y")
    if answers is None:
        return
    _same(estimator, "answers", len(answers), points.shape[0])
    classes = fitted.get("classes_")
    if isinstance(classes, np.ndarray) and answers.size and not 0 <= answers.min() <= answers.max() < len(classes):
        raise ValueError(f"a neighbour is of a class that is none of the {len(classes)}")


def _check_centres(estimator: Any, fitted: Mapping[str, Any]) -> None:
    if "cluster_centers_" in fitted:
        _same(estimator, "features of its centres", fitted["cluster_centers_"].shape[1:], (fitted["n_features_in_"],))


_CHECKS = {
    "BaseGradientBoosting": _check_boosting,
    "BaseHistGradientBoosting": _check_histogram_boosting,
    "BaseLibSVM": _check_support_vectors,
    "NeighborsBase": _check_neighbours,
    "_BaseKMeans": _check_centres,
}


def _same(estimator: Any, what: str, got: Any, expected: Any) -> None:
    if got != expected:
        raise ValueError(f"{type(estimator).__name__}: {what} is {got}, expected {expected}")
