"""OpenVINO servables: IR (``*.xml`` with its ``*.bin``) and ONNX models, on the CPU unless told otherwise."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from pipeline.errors import InvalidArtefact, InvalidSettings, LoadFailed, MissingExtra
from pipeline.records import DEFAULT_SIGNATURE
from pipeline.registry.options import Options, check_options
from pipeline.registry.servable import ServableId, Signature, TensorSpec
from pipeline.tensors import Array

# OpenVINO's type names and the protocol's. bf16, f8, u1, u4 and i4 have no datatype there.
DATATYPES: Final = {
    "boolean": "BOOL",
    "u8": "UINT8",
    "u16": "UINT16",
    "u32": "UINT32",
    "u64": "UINT64",
    "i8": "INT8",
    "i16": "INT16",
    "i32": "INT32",
    "i64": "INT64",
    "f16": "FP16",
    "f32": "FP32",
    "f64": "FP64",
    "string": "BYTES",
}
_ALLOWED: Final = {
    "performance_hint": ("LATENCY", "THROUGHPUT", "CUMULATIVE_THROUGHPUT"),
    "precision": ("f32", "bf16", "f16"),
}


class OpenVinoOptions(Options, frozen=True):
    """Options of a model; None leaves the choice to OpenVINO.

    ``threads`` and ``streams`` are INFERENCE_NUM_THREADS and NUM_STREAMS, ``performance_hint`` is LATENCY, THROUGHPUT
    or CUMULATIVE_THROUGHPUT, ``device`` is OpenVINO's name of one. ``precision`` (f32, bf16, f16) is that of the
    computation: where the CPU has the instructions, OpenVINO takes bf16 for f32 models by itself, which is faster and
    differs from f32 in the third digit; set f32 where all workers must answer alike.
    """

    threads: int | None = None
    streams: int | None = None
    performance_hint: str | None = None
    device: str = "CPU"
    precision: str | None = None

    def properties(self) -> dict[str, Any]:
        """Return what OpenVINO is told when it compiles the model."""
        chosen = {
            "INFERENCE_NUM_THREADS": self.threads,
            "NUM_STREAMS": self.streams,
            "PERFORMANCE_HINT": self.performance_hint,
            "INFERENCE_PRECISION_HINT": self.precision,
        }
        return {name: value for name, value in chosen.items() if value is not None}


class OpenVinoAdapter:
    """Source adapter of OpenVINO models: a version is a directory with an ``*.xml`` and its ``*.bin``, or ``*.onnx``.

    ``model.xml`` and ``model.onnx`` come first where there are several. All models share one OpenVINO core, which is
    made by the first load.
    """

    kind = "openvino"
    looks_for = "model.xml with model.bin, or a single *.xml with its *.bin, or a single *.onnx"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._core: Any = None

    def detect(self, path: Path) -> bool:
        """See SourceAdapter."""
        model = _find(path)
        return model is not None and (model.suffix == ".onnx" or model.with_suffix(".bin").is_file())

    def loader(self, id: ServableId, path: Path, options: Mapping[str, Any]) -> OpenVinoLoader:  # noqa: A002  # TF Serving's word
        """See SourceAdapter. ``options`` are the fields of OpenVinoOptions."""
        checked = check_options(id, options, OpenVinoOptions)
        for name, allowed in _ALLOWED.items():
            value = getattr(checked, name)
            if value is not None and value not in allowed:
                raise InvalidSettings(
                    f"options of {id.name}", f"{name} is {value!r}, expected one of {', '.join(allowed)}"
                )
        return OpenVinoLoader(id, path, checked, self)

    def core(self, what: str) -> Any:
        """Return the one ``openvino.Core``; raise MissingExtra in the name of ``what`` where OpenVINO is missing."""
        with self._lock:
            if self._core is None:
                try:
                    import openvino  # noqa: PLC0415  # 0.2 s and 60 MB that only its users shall pay
                except ImportError as error:
                    raise MissingExtra(what, f"OpenVINO can not be imported ({error})", "openvino") from error
                self._core = openvino.Core()
            return self._core


class OpenVinoLoader:
    """See Loader."""

    def __init__(
        self,
        id: ServableId,  # noqa: A002  # TF Serving's word
        path: Path,
        options: OpenVinoOptions,
        adapter: OpenVinoAdapter,
    ) -> None:
        self._id = id
        self._path = path
        self._options = options
        self._adapter = adapter
        self._servable: OpenVinoServable | None = None

    def estimate_bytes(self) -> int | None:
        """See Loader: the weights, and a fifth on top."""
        model = _find(self._path)
        files = [model, model.with_suffix(".bin")] if model is not None else []
        return sum(file.stat().st_size for file in files if file.is_file()) * 6 // 5 or None

    def load(self) -> OpenVinoServable:
        """See Loader. Raises InvalidArtefact for what OpenVINO can not read, MissingExtra where it is not installed."""
        name = str(self._id)
        core = self._adapter.core(name)
        model = _find(self._path)
        if model is None:
            raise InvalidArtefact(name, f"no model found in {self._path}, expected {OpenVinoAdapter.looks_for}")
        if model.suffix == ".xml" and not model.with_suffix(".bin").is_file():
            raise InvalidArtefact(name, f"{model.with_suffix('.bin').name} is missing beside {model.name}")
        try:
            network = core.read_model(model)
        except Exception as error:
            raise InvalidArtefact(name, f"OpenVINO can not read {model.name}: {_brief(error)}") from error
        signature = _signature(name, network)
        try:
            compiled = core.compile_model(network, self._options.device, self._options.properties())
        except Exception as error:
            raise LoadFailed(name, f"OpenVINO can not compile {model.name}: {_brief(error)}") from error
        self._servable = OpenVinoServable(compiled, signature)
        return self._servable

    def unload(self) -> None:
        """See Loader."""
        if self._servable is not None:
            self._servable.close()
            self._servable = None


class OpenVinoServable:
    """A compiled model with one infer request per concurrent caller, made on demand.

    Inputs are copied into the request and outputs out of it, once each: no array of a caller is kept, and no result
    changes afterwards. BYTES lose trailing NUL bytes, because numpy's fixed-width strings do.
    """

    def __init__(self, compiled: Any, signature: Signature) -> None:
        self.signatures: Mapping[str, Signature] = {DEFAULT_SIGNATURE: signature}
        self._compiled = compiled
        self._idle: deque[Any] = deque()
        self._inputs = [(place, spec.name, spec.datatype == "BYTES") for place, spec in enumerate(signature.inputs)]
        self._outputs = [(place, spec.name, spec.datatype == "BYTES") for place, spec in enumerate(signature.outputs)]

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:  # noqa: ARG002  # there is one
        """See Servable. A request that failed is not used again."""
        try:
            request = self._idle.pop()
        except IndexError:
            request = self._compiled.create_infer_request()
        for place, name, is_bytes in self._inputs:
            array, tensor = inputs[name], request.get_input_tensor(place)
            tensor.shape = array.shape
            if is_bytes:
                _put_bytes(tensor, array)
            else:
                tensor.data[...] = array
        request.infer()
        outputs = {}
        for place, name, is_bytes in self._outputs:
            tensor = request.get_output_tensor(place)
            outputs[name] = _take_bytes(tensor) if is_bytes else tensor.data.copy()
        self._idle.append(request)
        return outputs

    def close(self) -> None:
        """Free the model and its requests; nothing is running by then."""
        self._idle.clear()
        self._compiled = None


# OpenVINO divides by the number of elements of a text tensor: with none, it takes the whole process down.


def _put_bytes(tensor: Any, array: Array) -> None:
    if array.size:
        tensor.bytes_data = array.astype("S")


def _take_bytes(tensor: Any) -> Array:
    if not tensor.size:
        return np.empty(tuple(tensor.shape), object)
    array: Array = tensor.bytes_data.astype(object)
    return array


def _find(path: Path) -> Path | None:
    """Return the model file of a version, None where there is none or too many to choose from."""
    for suffix in (".xml", ".onnx"):
        if (path / f"model{suffix}").is_file():
            return path / f"model{suffix}"
        files = list(path.glob(f"*{suffix}")) if path.is_dir() else []
        if len(files) == 1:
            return files[0]
        if files:
            return None
    return path if path.is_file() and path.suffix == ".onnx" else None


def _signature(name: str, network: Any) -> Signature:
    inputs = _specs(name, network.inputs, "input")
    outputs = _specs(name, network.outputs, "output")
    is_batched = all(spec.shape and spec.shape[0] == -1 for spec in (*inputs, *outputs))
    return Signature(inputs, outputs, batched=is_batched)


def _specs(name: str, ports: Sequence[Any], which: str) -> tuple[TensorSpec, ...]:
    specs: list[TensorSpec] = []
    for place, port in enumerate(ports):
        tensor = f"{which}_{place}"
        names = port.get_names()
        if names:
            tensor = port.get_any_name()
        if any(spec.name == tensor for spec in specs):
            tensor = f"{which}_{place}"
        type_name, shape = port.get_element_type().get_type_name(), port.get_partial_shape()
        if type_name not in DATATYPES:
            reason = f"{which} {tensor!r} has type {type_name}, which no datatype of the protocol stands for"
            raise InvalidArtefact(name, reason)
        if shape.rank.is_dynamic:
            raise InvalidArtefact(name, f"{which} {tensor!r} has a dynamic number of axes; a signature needs it fixed")
        axes = tuple(-1 if axis.is_dynamic else axis.get_length() for axis in shape)
        specs.append(TensorSpec(tensor, DATATYPES[type_name], axes))
    return tuple(specs)


def _brief(error: Exception) -> str:
    """The last line of OpenVINO's message; those above it name its own source files."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
