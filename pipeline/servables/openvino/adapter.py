"""The source adapter of OpenVINO models and their loader, on the CPU unless told otherwise."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Final

from pipeline.errors import LoadFailed
from pipeline.registry.servable import Description, ServableId
from pipeline.servables import onnx_file
from pipeline.servables.framework import imported, last_line
from pipeline.servables.model_file import no_model
from pipeline.servables.openvino import files, reading
from pipeline.servables.openvino.options import OpenVinoOptions, check
from pipeline.servables.openvino.servable import OpenVinoServable
from pipeline.servables.openvino.signature import signature_of

_CONVERTER: Final = "openvino.tools.ovc"


class OpenVinoAdapter:
    """Source adapter of OpenVINO models: a version is a directory with an ``*.xml`` and its ``*.bin``, or ``*.onnx``.

    ``model.xml`` and ``model.onnx`` come first where there are several. A SavedModel is read where the settings name
    this kind; by its files it is another's. All models share one OpenVINO core, which is made by the first load.
    """

    kind = "openvino"
    looks_for = files.LOOKS_FOR

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._core: Any = None

    def detect(self, path: Path) -> bool:
        """See SourceAdapter."""
        model = files.find(path)
        if model is None or model.format is files.Format.SAVED_MODEL:
            return False
        return model.format is not files.Format.IR or model.path.with_suffix(".bin").is_file()

    def loader(self, id: ServableId, path: Path, options: Mapping[str, Any]) -> OpenVinoLoader:  # noqa: A002  # TF Serving's word
        """See SourceAdapter. ``options`` are the fields of OpenVinoOptions."""
        return OpenVinoLoader(id, path, check(id, options), self)

    def prepare(self) -> None:
        """See SourceAdapter."""
        self.core(self.kind)

    def core(self, what: str) -> Any:
        """Return the one ``openvino.Core``; raise MissingExtra in the name of ``what`` where OpenVINO is missing."""
        with self._lock:
            if self._core is None:
                self._core = _import_openvino(what).Core()
            return self._core


def _import_openvino(what: str) -> Any:
    """Import it without the converter of other frameworks' models in memory, which no kind here needs.

    It is a half of the import's time, and tells Google Analytics that OpenVINO has been imported. Whose own code calls
    ``openvino.convert_model`` imports it then.
    """
    openvino = imported(what, "openvino", "OpenVINO", "openvino", without=_CONVERTER)
    if not hasattr(openvino, "convert_model"):
        openvino.convert_model = _convert_model
    return openvino


def _convert_model(*arguments: Any, **options: Any) -> Any:
    """See ``openvino.convert_model``."""
    return importlib.import_module(_CONVERTER).convert_model(*arguments, **options)


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
        """See Loader: the files of the version, as often as OpenVINO has weights in memory while it compiles them."""
        return files.size_bytes(self._path) * 9 // 4 or None

    def load(self) -> OpenVinoServable:
        """See Loader. Raises InvalidArtefact for what OpenVINO can not read, MissingExtra where it is not installed."""
        name = str(self._id)
        model = files.find(self._path)
        if model is None:
            raise no_model(name, self._path, files.LOOKS_FOR)
        axes: Mapping[str, tuple[str, ...]] = {}
        if model.format is files.Format.ONNX:
            axes = onnx_file.look_over(name, model.path, self._path).axes
        network = reading.read(name, partial(self._adapter.core, name), model)
        try:
            self._servable = self._compile(network, model, axes)
        except BaseException:
            if network.weights is not None:
                network.weights.close()
            raise
        return self._servable

    def unload(self) -> None:
        """See Loader."""
        if self._servable is not None:
            self._servable.close()
            self._servable = None

    def _compile(
        self, network: reading.Network, model: files.ModelFile, axes: Mapping[str, tuple[str, ...]]
    ) -> OpenVinoServable:
        name, options = str(self._id), self._options
        reading.reshape(name, network.model, options)
        batch = options.batch if options.batch != -1 else None
        signature = signature_of(name, network.model, axes, batch, (network.input_names, network.output_names))
        with ThreadPoolExecutor(1, "penstock-shapes") as beside:  # while the model is compiled
            takes_two_rows = beside.submit(reading.takes_two_rows, network.model.clone())
            try:
                compiled = self._adapter.core(name).compile_model(network.model, options.device, options.properties())
            except Exception as error:
                raise LoadFailed(name, f"OpenVINO can not compile {model.path.name}: {last_line(error)}") from error
        # Whoever has the model asks it before each call: ``reshape`` raises for a shape that it forbids.
        picky = None if takes_two_rows.result() else network.model.clone()
        description = _describe(compiled, options, model)
        return OpenVinoServable(compiled, signature, description, batch, picky, network.weights)


def _describe(compiled: Any, options: OpenVinoOptions, model: files.ModelFile) -> Description:
    version = importlib.import_module("openvino").get_version()
    notes = [f"read from {model.format.value}", f"device {options.device}"]
    supported = compiled.get_property("SUPPORTED_PROPERTIES")
    if "INFERENCE_PRECISION_HINT" in supported:
        notes.append(f"computes in {compiled.get_property('INFERENCE_PRECISION_HINT').get_type_name()}")
    if options.cache_dir is not None:
        notes.append(f"compiled models are kept in {options.cache_dir}")
    threads = int(compiled.get_property("INFERENCE_NUM_THREADS")) if "INFERENCE_NUM_THREADS" in supported else None
    return Description("openvino", version, threads, notes=tuple(notes))
