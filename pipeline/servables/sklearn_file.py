"""A scikit-learn estimator out of a skops file, with everything checked that skops leaves to its caller.

skops is asked in its own steps (schema, audit, construction) instead of by ``skops.io.load``, because what native code
will follow has to be looked at between them. Those steps are private to skops, so setup.cfg names its exact minor.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from pipeline.servables.sklearn_checks import check_array, check_estimators, check_trees
from pipeline.servables.zip_members import check_members

# skops leaves these to its caller: they are harmless once the checks of this package have passed, or always.
_CHECKED_HERE: Final = (
    "sklearn.tree._tree.Tree",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
)
_MAX_RATIO: Final = 50


class Untrusted(ValueError):
    """The file names types that nobody has allowed."""


class SklearnModel(msgspec.Struct, frozen=True):
    """What a file held: the estimator, all estimators inside it and itself, and what an operator must know."""

    estimator: Any
    estimators: tuple[Any, ...]
    saved_with: tuple[str, ...]
    allowed: tuple[str, ...]


def check_archive(data: bytes) -> None:
    """Raise ValueError for a zip file that is larger inside than it may be, or has names that lead out of it."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        check_members(archive, len(data), _MAX_RATIO)


def read(data: bytes, trusted: Sequence[str]) -> SklearnModel:
    """Return the estimator that ``data``, a skops file, holds; ``trusted`` are further types that it may name.

    Raises Untrusted, which lists the types, before anything of the file is constructed. Raises anything else for a file
    that is damaged, or made to do damage.
    """
    from sklearn.base import BaseEstimator  # noqa: PLC0415  # only its users shall pay for it
    from skops.io import _audit, _utils  # noqa: PLC0415  # as above

    allowed = [*_CHECKED_HERE, *trusted]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        check_members(archive, len(data), _MAX_RATIO)
        schema, context = _utils.read_schema(archive)
        root = _audit.get_tree(schema, context, trusted=allowed)
        unknown = sorted(root.get_unsafe_set())
        if unknown:
            raise Untrusted(", ".join(unknown))
    nodes = list(_walk(root, _audit.Node))
    named = {f"{node.module_name}.{node.class_name}" for node in nodes}
    for node in nodes:
        for child in node.children.values():
            if isinstance(child, io.BytesIO):
                _check_buffer(child)
    check_trees(
        [(node.args.construct(), node.attrs.construct()) for node in nodes if type(node).__name__ == "TreeNode"]
    )
    estimator = root.construct()
    if not isinstance(estimator, BaseEstimator):
        raise TypeError(f"it holds a {type(estimator).__name__}, expected an estimator")
    objects = [node.construct() for node in nodes if type(node).__name__ == "ObjectNode"]
    estimators = tuple(one for one in objects if isinstance(one, BaseEstimator))
    check_estimators(estimators)
    return SklearnModel(estimator, estimators, _versions(schema), tuple(sorted(named.intersection(trusted))))


def _walk(root: Any, kind: Any) -> Iterator[Any]:
    """Yield every node once; children are nodes, or lists or dicts of them."""
    waiting, seen = [root], set()
    while waiting:
        node = waiting.pop()
        if isinstance(node, list | tuple):
            waiting += node
        elif isinstance(node, dict):
            waiting += node.values()
        elif isinstance(node, kind) and id(node) not in seen:
            seen.add(id(node))
            yield node
            waiting += [*node.children.values(), getattr(node, "cached", None)]


def _check_buffer(buffer: io.BytesIO) -> None:
    """Check an array file, or the zip file of several that a sparse matrix is."""
    data = buffer.getvalue()
    if not data.startswith(b"PK"):
        check_array(data)
        return
    check_archive(data)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            check_array(archive.read(name))


def _versions(schema: Any) -> tuple[str, ...]:
    """Return the versions of scikit-learn that the estimators of a file were saved with."""
    found, waiting = set(), [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            version = value.get("_sklearn_version")
            if isinstance(version, dict):
                found.add(str(version.get("content")).strip('"'))
            waiting += [one for one in value.values() if one.__class__ is dict or one.__class__ is list]
        elif isinstance(value, list):
            waiting += [one for one in value if one.__class__ is dict or one.__class__ is list]
    return tuple(sorted(found))
