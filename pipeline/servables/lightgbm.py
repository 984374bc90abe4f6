"""LightGBM models in its text format; never a pickle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.errors import InvalidArtefact, InvalidSettings
from pipeline.records import DEFAULT_SIGNATURE
from pipeline.registry.options import Options
from pipeline.registry.servable import Description, ServableId, Signature, TensorSpec
from pipeline.registry.simple_loader import SimpleAdapter
from pipeline.servables.framework import imported
from pipeline.servables.lightgbm_model import LightgbmModel, examine
from pipeline.servables.model_file import candidates, the_one
from pipeline.tensors import Array

_LOOKS_FOR: Final = "exactly one *.txt that Booster.save_model wrote"
_MARGIN: Final = "margin"
_OF_CLASSES: Final = ("multiclass", "multiclassova")


class LightgbmOptions(Options, frozen=True):
    """Options of a model.

    ``threads`` of one prediction. ``iterations``: how many rounds of trees answer, 0 is all that the file has.
    ``datatype`` of the input: FP64, in which LightGBM compares, or FP32.
    """

    threads: int = 1
    iterations: int = 0
    datatype: str = "FP64"

    def __post_init__(self) -> None:
        if self.threads < 1 or self.iterations < 0:
            raise ValueError("threads is at least 1 and iterations at least 0")
        if self.datatype not in {"FP32", "FP64"}:
            raise ValueError(f"datatype is {self.datatype!r}, expected FP32 or FP64")


def adapter() -> SimpleAdapter:
    """Return the source adapter of LightGBM models."""
    return SimpleAdapter(
        kind="lightgbm",
        looks_for=_LOOKS_FOR,
        detect=lambda path: len(_find(path)) == 1,
        create=read_model,
        options=LightgbmOptions,
        estimate_bytes=_estimate_bytes,
        prepare=_import,
    )


def _import(what: str = "lightgbm") -> Any:
    return imported(what, "lightgbm", "LightGBM", "lightgbm")


def _find(path: Path) -> list[Path]:
    return candidates(path, (".txt",), lambda ends: ends.startswith(b"tree\nversion="))


def _estimate_bytes(path: Path) -> int | None:
    return sum(file.stat().st_size for file in _find(path)) * 4 or None


def read_model(id: ServableId, path: Path, options: LightgbmOptions) -> LightgbmServable:  # noqa: A002  # TF Serving's word
    """Load one version. Raises InvalidArtefact for a file that LightGBM could not use without harm, MissingExtra."""
    lightgbm = _import(str(id))
    file = the_one(str(id), path, _find(path), _LOOKS_FOR)
    data = file.read_bytes()
    try:
        model = examine(data)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise InvalidArtefact(str(id), f"{file.name} is no sound LightGBM model: {error}") from error
    if options.iterations > model.rounds:
        reason = f"iterations is {options.iterations}, {file.name} has {model.rounds}"
        raise InvalidSettings(f"options of {id.name}", reason)
    try:
        booster = lightgbm.Booster(model_str=model.text)
        servable = LightgbmServable(booster, model, options)
        _try_out(servable, model)
    except (lightgbm.basic.LightGBMError, ValueError, TypeError, KeyError, IndexError) as error:
        raise InvalidArtefact(str(id), f"LightGBM can not read {file.name}: {str(error)[:300]}") from error
    used = options.iterations
    notes = (f"answers with the first {used} of {model.rounds} rounds",) if 0 < used < model.rounds else ()
    servable.description = Description("lightgbm", lightgbm.__version__, options.threads, notes=notes)
    return servable


def _try_out(servable: LightgbmServable, model: LightgbmModel) -> None:
    """Ask for one row: some models show only then what they lack."""
    outputs = servable.predict(DEFAULT_SIGNATURE, {"x": np.zeros((1, model.features))})
    for spec in servable.signatures[DEFAULT_SIGNATURE].outputs:
        shape = outputs[spec.name].shape
        if shape != (1, *spec.shape[1:]):
            raise ValueError(
                f"objective {model.objective} gives {spec.name} {list(shape)}, expected {list(spec.shape)}"
            )


class LightgbmServable:
    """A booster: input ``x`` [rows, features], NaN where a value is missing; any number of threads at once, no GIL."""

    def __init__(self, booster: Any, model: LightgbmModel, options: LightgbmOptions) -> None:
        self.description = Description()
        self.signatures: Mapping[str, Signature] = _signatures(model, options.datatype)
        self._booster = booster
        self._options = options

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """See Servable."""
        specs, x = self.signatures[signature].outputs, inputs["x"]
        if not len(x):
            dtypes = [np.int64 if spec.datatype == "INT64" else np.float64 for spec in specs]
            return {spec.name: np.empty((0, *spec.shape[1:]), dtype) for spec, dtype in zip(specs, dtypes, strict=True)}
        raw: Array = self._booster.predict(
            x,
            raw_score=signature == _MARGIN,
            num_iteration=self._options.iterations or -1,
            num_threads=self._options.threads,
        )
        if len(specs) == 1:
            return {specs[0].name: raw}
        probabilities = raw if raw.ndim > 1 else np.stack([1 - raw, raw], axis=1)
        label = probabilities.argmax(axis=1) if raw.ndim > 1 else raw > 0.5
        return {"label": label.astype(np.int64), "probabilities": probabilities}


def _signatures(model: LightgbmModel, datatype: str) -> dict[str, Signature]:
    x = TensorSpec("x", datatype, (-1, model.features), ("rows", "features"))
    values = () if model.outputs == 1 else (model.outputs,)
    shape, axes = (-1, *values), ("rows", "outputs")[: 1 + len(values)]
    outputs: tuple[TensorSpec, ...] = (TensorSpec("prediction", "FP64", shape, axes),)
    if model.objective == "binary" or (model.objective in _OF_CLASSES and model.outputs > 1):
        label = TensorSpec("label", "INT64", (-1,), ("rows",))
        probabilities = TensorSpec("probabilities", "FP64", (-1, max(model.outputs, 2)), ("rows", "classes"))
        outputs = (label, probabilities)
    margin = TensorSpec(_MARGIN, "FP64", shape, axes)
    return {DEFAULT_SIGNATURE: Signature((x,), outputs), _MARGIN: Signature((x,), (margin,))}
