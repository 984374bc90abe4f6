"""XGBoost models in its own formats, JSON and UBJSON; never a pickle."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.errors import InvalidArtefact, InvalidSettings
from pipeline.records import DEFAULT_SIGNATURE
from pipeline.registry.options import Options
from pipeline.registry.servable import Description, ServableId, Signature, TensorSpec
from pipeline.registry.simple_loader import SimpleAdapter
from pipeline.servables import xgboost_json
from pipeline.servables.framework import imported
from pipeline.servables.model_file import candidates, the_one
from pipeline.servables.xgboost_model import XgboostModel, examine
from pipeline.tensors import Array

_LOOKS_FOR: Final = "exactly one *.json or *.ubj that Booster.save_model wrote"
_SUFFIXES: Final = (".json", ".ubj")
_MARGIN: Final = "margin"


class XgboostOptions(Options, frozen=True):
    """Options of a model.

    ``threads`` of one prediction. ``iterations``: how many rounds of trees answer; None is up to the best one where
    early stopping recorded it, else all; 0 is all.
    """

    threads: int = 1
    iterations: int | None = None

    def __post_init__(self) -> None:
        if self.threads < 1 or (self.iterations or 0) < 0:
            raise ValueError("threads is at least 1 and iterations at least 0")


def adapter() -> SimpleAdapter:
    """Return the source adapter of XGBoost models."""
    return SimpleAdapter(
        kind="xgboost",
        looks_for=_LOOKS_FOR,
        detect=lambda path: len(_find(path)) == 1,
        create=read_model,
        options=XgboostOptions,
        estimate_bytes=_estimate_bytes,
        prepare=_import,
    )


def _import(what: str = "xgboost") -> Any:
    return imported(what, "xgboost", "XGBoost", "xgboost")


def _find(path: Path) -> list[Path]:
    return candidates(path, _SUFFIXES, _is_model)


def _is_model(ends: bytes) -> bool:
    return ends[:1] == b"{" and b"learner" in ends[:64]


def _estimate_bytes(path: Path) -> int | None:
    return sum(file.stat().st_size for file in _find(path)) * 4 or None


def read_model(id: ServableId, path: Path, options: XgboostOptions) -> XgboostServable:  # noqa: A002  # TF Serving's word
    """Load one version. Raises InvalidArtefact for a file that XGBoost could not use without harm, MissingExtra."""
    xgboost = _import(str(id))
    file = the_one(str(id), path, _find(path), _LOOKS_FOR)
    data = file.read_bytes()
    try:
        model = examine(xgboost_json.read(data))
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError) as error:
        reason = f"lacks {error}" if isinstance(error, KeyError) else str(error)
        raise InvalidArtefact(str(id), f"{file.name} is no sound XGBoost model: {reason}") from error
    if options.iterations and options.iterations > model.rounds:
        reason = f"iterations is {options.iterations}, {file.name} has {model.rounds}"
        raise InvalidSettings(f"options of {id.name}", reason)
    try:
        booster = xgboost.Booster()
        booster.load_model(bytearray(data))
        booster.set_param({"nthread": options.threads})
        servable = XgboostServable(booster, model, options, partial(xgboost.DMatrix, nthread=options.threads))
        _try_out(servable, model)
    except (xgboost.core.XGBoostError, ValueError, TypeError) as error:
        raise InvalidArtefact(str(id), f"XGBoost can not read {file.name}: {_brief(error)}") from error
    servable.description = Description("xgboost", xgboost.__version__, options.threads, notes=_notes(model, options))
    return servable


def _try_out(servable: XgboostServable, model: XgboostModel) -> None:
    """Ask for one row: XGBoost sets itself up on first use, and some models show only then what they lack."""
    outputs = servable.predict(DEFAULT_SIGNATURE, {"x": np.zeros((1, model.features), np.float32)})
    for spec in servable.signatures[DEFAULT_SIGNATURE].outputs:
        shape = outputs[spec.name].shape
        if shape != (1, *spec.shape[1:]):
            raise ValueError(
                f"objective {model.objective} gives {spec.name} {list(shape)}, expected {list(spec.shape)}"
            )


def _notes(model: XgboostModel, options: XgboostOptions) -> tuple[str, ...]:
    used = _rounds(model, options)
    return (f"answers with the first {used} of {model.rounds} rounds",) if 0 < used < model.rounds else ()


def _rounds(model: XgboostModel, options: XgboostOptions) -> int:
    """Return how many rounds answer; 0 is all."""
    return (model.best_rounds or 0) if options.iterations is None else options.iterations


class XgboostServable:
    """A booster: input ``x`` FP32 [rows, features], NaN where a value is missing.

    Trees are asked in place, by any number of threads at once and without the GIL. Linear boosters can not be, so they
    are asked one call after the other.
    """

    def __init__(
        self, booster: Any, model: XgboostModel, options: XgboostOptions, make_matrix: Callable[[Array], Any]
    ) -> None:
        self.description = Description()
        self.signatures: Mapping[str, Signature] = _signatures(model)
        self._booster = booster
        self._model = model
        self._make_matrix = make_matrix
        self._range = (0, _rounds(model, options))
        self._lock = threading.Lock()

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """See Servable."""
        x = inputs["x"]
        names = [spec.name for spec in self.signatures[signature].outputs]
        if not len(x):
            return {spec.name: _none(spec) for spec in self.signatures[signature].outputs}
        raw = self._ask(x, is_margin=signature == _MARGIN)
        if names == ["label", "probabilities"]:
            probabilities = raw if raw.ndim > 1 else np.stack([1 - raw, raw], axis=1)
            label = probabilities.argmax(axis=1) if raw.ndim > 1 else raw > 0.5
            return {"label": label.astype(np.int64), "probabilities": probabilities}
        return {names[0]: raw.astype(np.int64) if names[0] == "label" else raw}

    def _ask(self, x: Array, *, is_margin: bool) -> Array:
        if self._model.booster == "gblinear":
            with self._lock:
                raw = self._booster.predict(self._make_matrix(x), output_margin=is_margin)
        else:
            raw = self._booster.inplace_predict(
                x,
                iteration_range=self._range,
                predict_type="margin" if is_margin else "value",
                validate_features=False,  # the signature has checked the number; names do not travel
            )
        answer: Array = raw
        return answer


def _signatures(model: XgboostModel) -> dict[str, Signature]:
    x = TensorSpec("x", "FP32", (-1, model.features), ("rows", "features"))
    values = () if model.outputs == 1 else (model.outputs,)
    label = TensorSpec("label", "INT64", (-1,), ("rows",))
    outputs: tuple[TensorSpec, ...]
    many = TensorSpec("prediction", "FP32", (-1, *values), ("rows", "outputs")[: 1 + len(values)])
    if model.objective in {"binary:logistic", "multi:softprob"} and (model.outputs == 1) == (
        "binary" in model.objective
    ):
        classes = max(model.outputs, 2)
        outputs = (label, TensorSpec("probabilities", "FP32", (-1, classes), ("rows", "classes")))
    elif model.objective in {"binary:hinge", "multi:softmax"}:
        outputs = (label,)
    else:
        outputs = (many,)
    margin = TensorSpec(_MARGIN, "FP32", many.shape, many.axes)
    return {DEFAULT_SIGNATURE: Signature((x,), outputs), _MARGIN: Signature((x,), (margin,))}


def _none(spec: TensorSpec) -> Array:
    return np.empty((0, *spec.shape[1:]), np.int64 if spec.datatype == "INT64" else np.float32)


def _brief(error: Exception) -> str:
    """The message without the stack trace that XGBoost appends."""
    return str(error).split("\nStack trace", 1)[0].strip()[:300]
