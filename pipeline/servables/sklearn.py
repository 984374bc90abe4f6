"""scikit-learn estimators and pipelines in skops files; never a pickle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.errors import InvalidArtefact, InvalidSettings
from pipeline.registry.options import Options
from pipeline.registry.servable import Description, ServableId, Signature, TensorSpec
from pipeline.registry.simple_loader import SimpleAdapter
from pipeline.servables import sklearn_file, sklearn_signatures
from pipeline.servables.framework import imported
from pipeline.servables.model_file import candidates, the_one
from pipeline.servables.sklearn_file import SklearnModel, Untrusted
from pipeline.tensors import DTYPES, Array

_LOOKS_FOR: Final = "exactly one *.skops"
_PICKLES: Final = (".pkl", ".pickle", ".joblib")
_BYTES_PER_BYTE: Final = 12  # of a file, once it is objects: measured on forests, whose schema is most of them


class SklearnOptions(Options, frozen=True):
    """Options of a model.

    ``datatype`` of the input ``x``: FP64 or FP32. ``columns`` makes it one input per column instead, by name, for
    models trained on data frames: names and datatypes, of those columns that are not FP64 at least. ``trusted``: types
    that a file may name besides those of scikit-learn, numpy and scipy, as ``skops.io.get_untrusted_types`` lists.
    ``threads`` is n_jobs of every estimator that has it.
    """

    datatype: str = "FP64"
    columns: dict[str, str] = {}  # noqa: RUF012  # msgspec makes a new one for each
    trusted: tuple[str, ...] = ()
    threads: int = 1

    def __post_init__(self) -> None:
        if self.datatype not in {"FP32", "FP64"}:
            raise ValueError(f"datatype is {self.datatype!r}, expected FP32 or FP64")
        if self.threads < 1:
            raise ValueError("threads is at least 1")
        for name, datatype in self.columns.items():
            if datatype not in DTYPES:
                raise ValueError(f"column {name!r} is {datatype!r}, expected one of {', '.join(DTYPES)}")


def adapter() -> SimpleAdapter:
    """Return the source adapter of scikit-learn models."""
    return SimpleAdapter(
        kind="sklearn",
        looks_for=_LOOKS_FOR,
        detect=lambda path: len(_find(path)) == 1,
        create=read_model,
        options=SklearnOptions,
        estimate_bytes=_estimate_bytes,
        prepare=_import,
    )


def _find(path: Path) -> list[Path]:
    # The last member of a skops file is its schema. One that is named so is taken at its word.
    return candidates(path, (".skops",), lambda ends: path.is_dir() or (ends[:2] == b"PK" and b"schema.json" in ends))


def _estimate_bytes(path: Path) -> int | None:
    return sum(file.stat().st_size for file in _find(path)) * _BYTES_PER_BYTE or None


def read_model(id: ServableId, path: Path, options: SklearnOptions) -> SklearnServable:  # noqa: A002  # TF Serving's word
    """Load one version.

    Raises InvalidArtefact for a file that names types which nobody has allowed, or that scikit-learn could not use
    without harm, InvalidSettings where the options do not fit the model, MissingExtra.
    """
    sklearn = _import(str(id))
    file = _model_file(str(id), path)
    data = file.read_bytes()
    try:
        model = sklearn_file.read(data, options.trusted)
    except Untrusted as error:
        reason = (
            f"{file.name} names types that are not allowed: {error}; if you know what they do, allow them by "
            "`trusted` in the options of the servable"
        )
        raise InvalidArtefact(str(id), reason) from error
    except Exception as error:
        what = f"{type(error).__name__}: {str(error)[:300]}"
        raise InvalidArtefact(str(id), f"{file.name} is no sound skops file: {what}") from error
    try:
        servable = _serve(id, model, options)
    except InvalidSettings:
        raise
    except Exception as error:
        reason = f"scikit-learn can not use {file.name}: {type(error).__name__}: {str(error)[:300]}"
        raise InvalidArtefact(str(id), reason) from error
    servable.description = Description(
        "scikit-learn", sklearn.__version__, options.threads, notes=_notes(model, sklearn.__version__)
    )
    return servable


def _import(what: str = "sklearn") -> Any:
    # skops lists what scikit-learn has, and with that imports its adapter to PyTorch, and so PyTorch.
    imported(what, "skops.io", "skops", "sklearn", without="sklearn.externals.array_api_compat.torch")
    return imported(what, "sklearn", "scikit-learn", "sklearn")


def _model_file(what: str, path: Path) -> Path:
    found = _find(path)
    pickles = candidates(path, _PICKLES, lambda _: path.is_dir())
    if pickles and not found:
        reason = (
            f"{pickles[0].name} is a pickle, which can run code, and is not loaded; convert it where you trust it: "
            f'skops.io.dump(joblib.load("{pickles[0].name}"), "model.skops")'
        )
        raise InvalidArtefact(what, reason)
    return the_one(what, path, found, _LOOKS_FOR)


def _notes(model: SklearnModel, installed: str) -> tuple[str, ...]:
    notes = [f"types allowed by the settings: {', '.join(model.allowed)}"] if model.allowed else []
    notes += [f"saved with scikit-learn {v}, loaded by {installed}" for v in model.saved_with if v != installed]
    return tuple(notes)


def _serve(id: ServableId, model: SklearnModel, options: SklearnOptions) -> SklearnServable:  # noqa: A002  # TF Serving's word
    from sklearn.utils.validation import check_is_fitted  # noqa: PLC0415  # only its users shall pay for it

    estimator, where = model.estimator, f"options of {id.name}"
    check_is_fitted(estimator)
    for one in model.estimators:
        if "n_jobs" in vars(one):
            one.n_jobs = options.threads
    names = [str(name) for name in getattr(estimator, "feature_names_in_", ())]
    if options.columns:
        unknown = sorted(set(options.columns).difference(names))
        if unknown:
            known = ", ".join(names) or "none: it was not trained on a data frame"
            raise InvalidSettings(
                where, f"columns {', '.join(unknown)} are not of the model, whose columns are {known}"
            )
        inputs = tuple(TensorSpec(name, options.columns.get(name, "FP64"), (-1,), ("rows",)) for name in names)
        return SklearnServable(estimator, inputs, _frame)
    if any(isinstance(column, str) for one in model.estimators for column in _selected(one)):
        reason = f"the model selects columns by name; say in columns which are no FP64, of {', '.join(names)}"
        raise InvalidSettings(where, reason)
    for one in model.estimators:
        vars(one).pop("feature_names_in_", None)  # else it warns of each request that it has no names
    features = getattr(estimator, "n_features_in_", None)
    if features is None:  # text, as a vectorizer takes it
        x = TensorSpec("x", "BYTES", (-1,), ("rows",))
        return SklearnServable(estimator, (x,), lambda inputs: _text(inputs["x"]))
    x = TensorSpec("x", options.datatype, (-1, int(features)), ("rows", "features"))
    # A copy: some estimators work in place, and some refuse what is read-only.
    return SklearnServable(estimator, (x,), lambda inputs: np.array(inputs["x"]))


def _selected(estimator: Any) -> list[Any]:
    """Return the columns that a ColumnTransformer selects one by one."""
    transformers = vars(estimator).get("transformers_", ()) if type(estimator).__name__ == "ColumnTransformer" else ()
    return [c for _, _, columns in transformers for c in ([columns] if isinstance(columns, str) else columns)]


def _text(cells: Array) -> Array:
    decoded = np.empty(cells.shape, object)
    decoded[:] = [cell.decode() for cell in cells]
    return decoded


def _frame(inputs: Mapping[str, Array]) -> Any:
    import pandas as pd  # noqa: PLC0415  # only models of columns need it

    return pd.DataFrame({n: _text(cells) if cells.dtype == object else np.array(cells) for n, cells in inputs.items()})


class SklearnServable:
    """An estimator, asked by several threads at once: scikit-learn's predictions change nothing in it."""

    def __init__(
        self, estimator: Any, inputs: tuple[TensorSpec, ...], make: Callable[[Mapping[str, Array]], Any]
    ) -> None:
        self.description = Description()
        self._estimator = estimator
        self._make = make
        row = {spec.name: _zeros(spec) for spec in inputs}
        self._calls = sklearn_signatures.calls(estimator, make(row))
        if not self._calls:
            raise ValueError(f"{type(estimator).__name__} has neither predict nor transform")
        self.signatures: Mapping[str, Signature] = sklearn_signatures.signatures(inputs, self._calls)

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """See Servable."""
        x = self._make({spec.name: inputs[spec.name] for spec in self.signatures[signature].inputs})
        return {
            call.output.name: sklearn_signatures.to_output(call.output, getattr(self._estimator, call.method)(x))
            for call in self._calls[signature]
        }


def _zeros(spec: TensorSpec) -> Array:
    shape = (1, *spec.shape[1:])
    return np.full(shape, b"", object) if spec.datatype == "BYTES" else np.zeros(shape, DTYPES[spec.datatype])
