"""Any Python object: a class that the operator names, or, where the operator allows it, one in the version itself."""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import platform
import sys
import threading
from collections.abc import Coroutine, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import numpy as np

from pipeline.errors import InvalidArtefact, InvalidSettings, LoadFailed, ModelFailed, PathRefused, PenstockError
from pipeline.records import DEFAULT_SIGNATURE
from pipeline.registry.options import Options, check_options
from pipeline.registry.servable import Description, ServableId, Signature, TensorSpec
from pipeline.tensors import DATATYPES, DTYPES, Array, datatype_of

_FILE: Final = "servable.py"


class PythonOptions(Options, frozen=True, rename={"class_path": "class"}):
    """Options of a Python servable.

    ``class`` is ``package.module:Class``, importable by the worker. With ``allow_code_in_version`` the class is taken
    from ``servable.py`` of the version instead, ``class`` naming it (default ``Servable``): whoever can write to the
    storage can then run code in the worker. ``arguments`` are passed to the class by name.
    """

    class_path: str = ""
    allow_code_in_version: bool = False
    arguments: dict[str, Any] = {}  # noqa: RUF012  # msgspec makes a new one for each


class PythonAdapter:
    """Source adapter of Python classes.

    The class has ``predict(inputs) -> outputs`` (arrays by name), plain or async, called from several threads at once,
    and declares ``inputs`` and ``outputs``: name -> (datatype, shape), -1 for an axis of any length, and ``batched =
    False`` where axis 0 is not the batch. Instead it may declare ``signatures``: name -> Signature; its method is then
    ``predict(signature, inputs)``. ``load(path)`` and ``unload()`` are optional, and on the pools' threads.
    """

    kind = "python"
    looks_for = _FILE

    def detect(self, path: Path) -> bool:
        """See SourceAdapter."""
        return (path / _FILE).is_file()

    def loader(self, id: ServableId, path: Path, options: Mapping[str, Any]) -> PythonLoader:  # noqa: A002  # TF Serving's word
        """See SourceAdapter. ``options`` are the fields of PythonOptions. Raises InvalidSettings, PathRefused."""
        where = f"options of {id.name}"
        checked = check_options(id, options, PythonOptions)
        if not checked.class_path and not checked.allow_code_in_version:
            if self.detect(path):
                reason = f"{_FILE} is not run unless allow_code_in_version is set in the options of {id.name}"
                raise PathRefused(str(path), reason)
            raise InvalidSettings(where, "class is missing, expected package.module:Class")
        module, _, name = checked.class_path.rpartition(":")
        if not checked.allow_code_in_version and not (module and name):
            raise InvalidSettings(where, f"class is {checked.class_path!r}, expected package.module:Class")
        return PythonLoader(id, path, checked)


class PythonLoader:
    """See Loader."""

    def __init__(self, id: ServableId, path: Path, options: PythonOptions) -> None:  # noqa: A002  # TF Serving's word
        self._id = id
        self._path = path
        self._options = options
        self._own_module: str | None = None
        self._servable: PythonServable | None = None

    def estimate_bytes(self) -> int | None:
        """See Loader: nobody knows."""
        return None

    def load(self) -> PythonServable:
        """See Loader. Imports the class, makes one object of it and calls its ``load``.

        Raises LoadFailed with type and text of whatever that raised; an OSError passes, it may pass by itself.
        """
        try:
            model = self._make()
            if hasattr(model, "load"):
                model.load(self._path)
            notes = (f"{_FILE} of the version is run",) if self._options.allow_code_in_version else ()
            self._servable = PythonServable(self._id, model, notes)
        except BaseException as error:
            self._forget_module()
            if isinstance(error, Exception) and not isinstance(error, PenstockError | OSError):
                reason = f"the class could not be loaded: {type(error).__name__}: {error}"
                raise LoadFailed(str(self._id), reason) from error
            raise
        return self._servable

    def unload(self) -> None:
        """See Loader. Calls the object's ``unload``."""
        servable, self._servable = self._servable, None
        try:
            if servable is not None:
                servable.close()
        finally:
            self._forget_module()

    def _make(self) -> Any:
        module_name, _, name = self._options.class_path.rpartition(":")
        if self._options.allow_code_in_version:
            module = self._import_file()
        else:
            try:
                module = importlib.import_module(module_name)
            except ImportError as error:
                raise LoadFailed(str(self._id), f"can not import {module_name}: {error}") from error
        made = getattr(module, name or "Servable", None)
        if not callable(made):
            raise LoadFailed(str(self._id), f"{module.__name__} has no class {name or 'Servable'}")
        return made(**self._options.arguments)

    def _import_file(self) -> ModuleType:
        file = self._path / _FILE
        name = f"_penstock_{self._id.name}_{self._id.version}_{id(self):x}"
        spec = importlib.util.spec_from_file_location(name, file)
        if spec is None or spec.loader is None or not file.is_file():
            raise InvalidArtefact(str(self._id), f"{_FILE} is missing")
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        self._own_module = name
        spec.loader.exec_module(module)
        return module

    def _forget_module(self) -> None:
        if self._own_module is not None:
            sys.modules.pop(self._own_module, None)
            self._own_module = None


class PythonServable:
    """Calls the object and checks what it returns."""

    def __init__(self, id: ServableId, model: Any, notes: tuple[str, ...] = ()) -> None:  # noqa: A002  # TF Serving's word
        self._id = id
        self._model = model
        self._takes_signature = hasattr(model, "signatures")
        self.signatures: Mapping[str, Signature] = _signatures(id, model)
        self.description = Description("python", platform.python_version(), notes=notes)
        self._loops = _Loops()

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """See Servable. Raises ModelFailed with type and text of whatever the object raised."""
        declared = self.signatures[signature or DEFAULT_SIGNATURE]
        try:
            outputs = self._model.predict(signature, inputs) if self._takes_signature else self._model.predict(inputs)
            if inspect.iscoroutine(outputs):
                outputs = self._loops.run(outputs)
        except PenstockError:
            raise
        except Exception as error:
            raise ModelFailed(str(self._id), f"predict raised {type(error).__name__}: {error}") from error
        if not isinstance(outputs, Mapping):
            raise ModelFailed(str(self._id), f"predict returned {type(outputs).__name__}, expected arrays by name")
        missing = [spec.name for spec in declared.outputs if spec.name not in outputs]
        if missing:
            raise ModelFailed(str(self._id), f"predict returned no {', '.join(missing)}, got {', '.join(outputs)}")
        return {spec.name: self._array(spec, outputs[spec.name]) for spec in declared.outputs}

    def close(self) -> None:
        """Call the object's ``unload`` and let go of it."""
        model, self._model = self._model, None
        self._loops.close()
        if hasattr(model, "unload"):
            model.unload()

    def _array(self, spec: TensorSpec, value: Any) -> Array:
        try:
            array = value if isinstance(value, np.ndarray) else np.asarray(value, DTYPES[spec.datatype])
            datatype = datatype_of(array.dtype)
        except (TypeError, ValueError) as error:
            raise ModelFailed(str(self._id), f"output {spec.name!r}: {error}") from error
        if datatype != spec.datatype:
            raise ModelFailed(str(self._id), f"output {spec.name!r} is {datatype}, declared as {spec.datatype}")
        return array


class _Loops:
    """One event loop per calling thread, made on first use, closed with the servable."""

    def __init__(self) -> None:
        self._local = threading.local()
        self._lock = threading.Lock()
        self._runners: list[asyncio.Runner] = []

    def run(self, call: Coroutine[Any, Any, Any]) -> Any:
        runner: asyncio.Runner | None = getattr(self._local, "runner", None)
        if runner is None:
            runner = self._local.runner = asyncio.Runner()
            with self._lock:
                self._runners.append(runner)
        return runner.run(call)

    def close(self) -> None:
        with self._lock:
            runners, self._runners = self._runners, []
        for runner in runners:
            runner.close()


def _signatures(id: ServableId, model: Any) -> Mapping[str, Signature]:  # noqa: A002  # TF Serving's word
    if not callable(getattr(model, "predict", None)):
        raise LoadFailed(str(id), f"{type(model).__name__} has no method predict")
    declared = getattr(model, "signatures", None)
    if declared is not None:
        if not (isinstance(declared, Mapping) and all(isinstance(one, Signature) for one in declared.values())):
            raise LoadFailed(str(id), f"{type(model).__name__}.signatures is no mapping of name to Signature")
        return dict(declared)
    return {
        DEFAULT_SIGNATURE: Signature(
            _specs(id, model, "inputs"), _specs(id, model, "outputs"), bool(getattr(model, "batched", True))
        )
    }


def _specs(id: ServableId, model: Any, which: str) -> tuple[TensorSpec, ...]:  # noqa: A002  # TF Serving's word
    what = f"{type(model).__name__}.{which}"
    try:
        specs = tuple(
            TensorSpec(str(name), str(datatype), tuple(int(axis) for axis in shape))
            for name, (datatype, shape) in getattr(model, which).items()
        )
    except (AttributeError, TypeError, ValueError) as error:
        raise LoadFailed(str(id), f"{what} does not declare name -> (datatype, shape): {error}") from error
    for spec in specs:
        if spec.datatype not in DATATYPES:
            raise LoadFailed(
                str(id), f"{what}: {spec.name} is {spec.datatype!r}, expected one of {', '.join(DATATYPES)}"
            )
    if not specs:
        raise LoadFailed(str(id), f"{what} is empty")
    return specs
