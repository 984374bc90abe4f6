"""What a scikit-learn estimator can be asked, as signatures: which methods it has, and what they return."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np

from pipeline.records import DEFAULT_SIGNATURE
from pipeline.registry.servable import Signature, TensorSpec
from pipeline.tensors import DTYPES, Array

_ROWS: Final = "rows"
# Methods that are signatures of their own, with their output.
_METHODS: Final = {
    "predict_proba": "probabilities",
    "decision_function": "scores",
    "transform": "transformed",
}


class Call(msgspec.Struct, frozen=True):
    """One method of the estimator, and the output that it becomes."""

    method: str
    output: TensorSpec


def calls(estimator: Any, probe: Any) -> dict[str, tuple[Call, ...]]:
    """Return the methods to call by signature; ``serving_default`` is ``predict``, or ``transform`` without it.

    ``probe`` is one row of input, by which shapes are found out that the estimator does not tell. A row that it can not
    answer (an unknown category) leaves them open.
    """
    found = {}
    for method, output in _METHODS.items():
        if _has(estimator, method) and not (method == "predict_proba" and not _is_classifier(estimator)):
            found[method] = (Call(method, _spec(estimator, method, output, probe)),)
    if _has(estimator, "predict"):
        default = [Call("predict", _spec(estimator, "predict", _answer(estimator), probe))]
        if "predict_proba" in found:
            found["predict"] = (default[0],)
            default += found["predict_proba"]
        return {DEFAULT_SIGNATURE: tuple(default), **found}
    return {DEFAULT_SIGNATURE: found["transform"], **found} if "transform" in found else {}


def signatures(inputs: tuple[TensorSpec, ...], asked: Mapping[str, tuple[Call, ...]]) -> dict[str, Signature]:
    """Return the signatures of these calls."""
    return {name: Signature(inputs, tuple(call.output for call in one)) for name, one in asked.items()}


def to_output(spec: TensorSpec, value: Any) -> Array:
    """Return what a method returned as the tensor that was declared: dense, in its datatype, text as UTF-8."""
    array = np.asarray(value.toarray() if hasattr(value, "toarray") else value)
    if spec.datatype != "BYTES":
        return array.astype(DTYPES[spec.datatype], copy=False)
    encoded = np.empty(array.size, object)
    encoded[:] = [cell if isinstance(cell, bytes) else str(cell).encode() for cell in array.flat]
    return encoded.reshape(array.shape)


def _has(estimator: Any, method: str) -> bool:
    return callable(getattr(estimator, method, None))


def _is_classifier(estimator: Any) -> bool:
    """Whether it names the classes of one answer; those with several answers have a list of them."""
    return isinstance(getattr(estimator, "classes_", None), np.ndarray)


def _answer(estimator: Any) -> str:
    from sklearn.base import is_regressor  # noqa: PLC0415  # only its users shall pay for it

    return "prediction" if is_regressor(estimator) else "label"


def _spec(estimator: Any, method: str, name: str, probe: Any) -> TensorSpec:
    if name == "probabilities":
        return TensorSpec(name, "FP64", (-1, len(estimator.classes_)), (_ROWS, "classes"))
    answer = _asked(estimator, method, probe)
    if answer is not None:
        shape, dtype = (-1, *answer.shape[1:]), answer.dtype
    else:  # one number a row of an answer, any number of scores and features
        shape = (-1,) if method == "predict" else (-1, -1)
        dtype = np.dtype(np.int64 if name == "label" else np.float64)
    if name == "label" and _is_classifier(estimator):
        dtype = estimator.classes_.dtype
    return TensorSpec(name, _datatype(dtype), shape, (_ROWS, *(f"{name}_{axis}" for axis in range(1, len(shape)))))


def _asked(estimator: Any, method: str, probe: Any) -> Array | None:
    try:
        value = getattr(estimator, method)(probe)
        return np.asarray(value.toarray() if hasattr(value, "toarray") else value)
    except Exception:  # noqa: BLE001  # whatever it says of a row of zeros, it may be right about
        return None


def _datatype(dtype: np.dtype[Any]) -> str:
    """The protocol's datatype that holds such elements; integers are INT64, numbers FP64 unless they are FP32."""
    if dtype.kind in "iu":
        return "INT64"
    if dtype.kind == "b":
        return "BOOL"
    if dtype.kind == "f":
        return "FP32" if dtype == np.float32 else "FP64"
    return "BYTES"
