"""ONNX models computed by ONNX Runtime: a kind that the settings name, for by its files ``*.onnx`` is OpenVINO's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.errors import InvalidArtefact, InvalidSettings, LoadFailed, ModelFailed
from pipeline.records import DEFAULT_SIGNATURE
from pipeline.registry.options import Options, check_options
from pipeline.registry.servable import Description, ServableId, Signature, TensorSpec
from pipeline.servables import onnx_file
from pipeline.servables.framework import imported
from pipeline.servables.model_file import no_model
from pipeline.tensors import Array

# ONNX Runtime's type names and the protocol's. bfloat16 and the like have no datatype there.
DATATYPES: Final = {
    "tensor(bool)": "BOOL",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(float16)": "FP16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}
_OPTIMIZATION: Final = {
    "none": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
_ERRORS_ONLY: Final = 3


class OnnxRuntimeOptions(Options, frozen=True):
    """Options of a model; None leaves the choice to ONNX Runtime.

    ``threads`` compute inside an operation, ``inter_op_threads`` operations beside each other (more than one asks for
    that). ``providers`` are tried in order. ``optimization`` of the graph is none, basic, extended or all. ``arena``
    keeps memory that a call has used for the next one, until the model is unloaded.
    """

    threads: int | None = None
    inter_op_threads: int | None = None
    providers: tuple[str, ...] = ("CPUExecutionProvider",)
    optimization: str = "all"
    arena: bool = True


class OnnxRuntimeAdapter:
    """Source adapter of ONNX models: a version is ``model.onnx``, a single ``*.onnx``, or that file itself.

    ``detect`` says no to everything, for the same files are OpenVINO's: this kind is named in the settings.
    """

    kind = "onnxruntime"
    looks_for = "nothing (an *.onnx is its own where kind: onnxruntime is set)"

    def prepare(self) -> None:
        """See SourceAdapter."""
        _import(self.kind)

    def detect(self, path: Path) -> bool:  # noqa: ARG002  # the files do not matter
        """See SourceAdapter."""
        return False

    def loader(self, id: ServableId, path: Path, options: Mapping[str, Any]) -> OnnxRuntimeLoader:  # noqa: A002  # TF Serving's word
        """See SourceAdapter. ``options`` are the fields of OnnxRuntimeOptions."""
        checked = check_options(id, options, OnnxRuntimeOptions)
        where = f"options of {id.name}"
        if checked.optimization not in _OPTIMIZATION:
            reason = f"optimization is {checked.optimization!r}, expected one of {', '.join(_OPTIMIZATION)}"
            raise InvalidSettings(where, reason)
        if not checked.providers:
            raise InvalidSettings(where, "providers is empty, expected such as [CPUExecutionProvider]")
        for name in ("threads", "inter_op_threads"):
            number = getattr(checked, name)
            if number is not None and number < 1:
                raise InvalidSettings(where, f"{name} is {number}, expected 1 or more")
        return OnnxRuntimeLoader(id, path, checked)


class OnnxRuntimeLoader:
    """See Loader."""

    def __init__(self, id: ServableId, path: Path, options: OnnxRuntimeOptions) -> None:  # noqa: A002  # TF Serving's word
        self._id = id
        self._path = path
        self._options = options
        self._servable: OnnxRuntimeServable | None = None

    def estimate_bytes(self) -> int | None:
        """See Loader: the files of the version, three times, for weights are packed anew (convolutions take that)."""
        files = [self._path] if self._path.is_file() else self._path.rglob("*")
        return sum(file.stat().st_size for file in files if file.is_file()) * 3 or None

    def load(self) -> OnnxRuntimeServable:
        """See Loader. Raises InvalidArtefact, PathRefused for weights outside the version, LoadFailed, MissingExtra."""
        name = str(self._id)
        runtime = _import(name)
        file = onnx_file.find(self._path)
        if file is None:
            raise no_model(name, self._path, "model.onnx or a single *.onnx")
        seen = onnx_file.look_over(name, file, self._path)
        self._check_providers(name, runtime)
        try:
            session = self._open(runtime, file, seen)
        except Exception as error:
            raise InvalidArtefact(name, f"ONNX Runtime can not load {file.name}: {_brief(error)}") from error
        signature = _signature(name, session, seen)
        notes = (f"providers {', '.join(session.get_providers())}",)
        description = Description("onnxruntime", runtime.__version__, self._options.threads, notes=notes)
        self._servable = OnnxRuntimeServable(name, session, signature, description)
        return self._servable

    def unload(self) -> None:
        """See Loader."""
        if self._servable is not None:
            self._servable.close()
            self._servable = None

    def _check_providers(self, name: str, runtime: Any) -> None:
        there = runtime.get_available_providers()
        missing = [provider for provider in self._options.providers if provider not in there]
        if missing:
            reason = f"this ONNX Runtime has no provider {missing[0]}, it has {', '.join(there)}"
            raise LoadFailed(name, f"option providers: {reason}")

    def _open(self, runtime: Any, file: Path, seen: onnx_file.OnnxFile) -> Any:
        options = runtime.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.graph_optimization_level = getattr(
            runtime.GraphOptimizationLevel, _OPTIMIZATION[self._options.optimization]
        )
        options.enable_cpu_mem_arena = self._options.arena
        if self._options.threads is not None:
            options.intra_op_num_threads = self._options.threads
        if self._options.inter_op_threads is not None:
            options.inter_op_num_threads = self._options.inter_op_threads
            if self._options.inter_op_threads > 1:
                options.execution_mode = runtime.ExecutionMode.ORT_PARALLEL
        if seen.external_files:
            # Left alone ONNX Runtime maps them, and dies when somebody shortens one of them in place.
            buffers = [np.fromfile(path, np.uint8) for path in seen.external_files.values()]
            sizes = [len(buffer) for buffer in buffers]
            options.add_external_initializers_from_files_in_memory(list(seen.external_files), buffers, sizes)
        return runtime.InferenceSession(str(file), options, providers=list(self._options.providers))


class OnnxRuntimeServable:
    """A session; ONNX Runtime lets any number of threads run it at once.

    Numbers go in without a copy where they lie one after the other, and come out as arrays of their own. BYTES have to
    be UTF-8, for ONNX Runtime's strings are text.
    """

    def __init__(self, name: str, session: Any, signature: Signature, description: Description) -> None:
        self.signatures: Mapping[str, Signature] = {DEFAULT_SIGNATURE: signature}
        self.description = description
        self._name = name
        self._session = session
        self._texts_in = [spec.name for spec in signature.inputs if spec.datatype == "BYTES"]
        self._outputs = [spec.name for spec in signature.outputs]
        self._texts_out = [spec.name for spec in signature.outputs if spec.datatype == "BYTES"]

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:  # noqa: ARG002  # there is one
        """See Servable. Raises ModelFailed for BYTES that are no UTF-8."""
        if self._texts_in:
            inputs = {**inputs, **{name: self._text(name, inputs[name]) for name in self._texts_in}}
        outputs = dict(zip(self._outputs, self._session.run(self._outputs, dict(inputs)), strict=True))
        for name in self._texts_out:
            outputs[name] = _each(str.encode, outputs[name])
        return outputs

    def close(self) -> None:
        """Free the model; nothing is running by then."""
        self._session = None

    def _text(self, name: str, array: Array) -> Array:
        try:
            return _each(bytes.decode, array)
        except UnicodeDecodeError as error:
            raise ModelFailed(self._name, f"input {name!r}: ONNX Runtime takes text, got {error}") from error


def _each(change: Any, array: Array) -> Array:
    changed = np.empty(array.size, object)
    changed[:] = [change(element) for element in array.flat]
    return changed.reshape(array.shape)


def _signature(name: str, session: Any, seen: onnx_file.OnnxFile) -> Signature:
    inputs = _specs(name, session.get_inputs(), "input", seen)
    outputs = _specs(name, session.get_outputs(), "output", seen)
    is_batched = all(spec.shape and spec.shape[0] == -1 for spec in (*inputs, *outputs))
    return Signature(inputs, outputs, batched=is_batched)


def _specs(name: str, tensors: Sequence[Any], which: str, seen: onnx_file.OnnxFile) -> tuple[TensorSpec, ...]:
    specs = []
    for tensor in tensors:
        if tensor.type not in DATATYPES:
            reason = f"{which} {tensor.name!r} has type {tensor.type}, which no datatype of the protocol stands for"
            raise InvalidArtefact(name, reason)
        if not tensor.shape and tensor.name in seen.shapeless:
            reason = f"{which} {tensor.name!r} has a dynamic number of axes; a signature needs it fixed"
            raise InvalidArtefact(name, reason)
        shape = tuple(axis if isinstance(axis, int) and axis >= 0 else -1 for axis in tensor.shape)
        axes = tuple(axis if isinstance(axis, str) else "" for axis in tensor.shape)
        specs.append(TensorSpec(tensor.name, DATATYPES[tensor.type], shape, axes if any(axes) else ()))
    return tuple(specs)


def _import(what: str) -> Any:
    return imported(what, "onnxruntime", "ONNX Runtime", "onnxruntime")


def _brief(error: Exception) -> str:
    """ONNX Runtime's message on one line; it begins with the code of its error."""
    return " ".join(str(error).split())[:300] or type(error).__name__
