"""The kind ``tensorflow``: which versions are its own, and how one is loaded and unloaded."""

from __future__ import annotations

import threading
from pathlib import Path

from pipeline.description import Description
from pipeline.errors import LoadFailed
from pipeline.registry.servable import ServableId
from pipeline.registry.simple_loader import SimpleAdapter
from pipeline.servables.model_file import no_model
from pipeline.servables.tensorflow.files import LOOKS_FOR, find, size_bytes
from pipeline.servables.tensorflow.framework import import_tensorflow
from pipeline.servables.tensorflow.keras_file import load_keras
from pipeline.servables.tensorflow.options import TensorFlowOptions
from pipeline.servables.tensorflow.saved_model import load_saved_model
from pipeline.servables.tensorflow.session import TensorFlowServable
from pipeline.servables.tensorflow.signatures import check_batched

_MIB = 1 << 20


class TensorFlowAdapter(SimpleAdapter):
    """Source adapter of TensorFlow models: a version is a SavedModel's directory, or a Keras file, alone or in one."""

    def __init__(self) -> None:
        super().__init__(
            "tensorflow",
            LOOKS_FOR,
            lambda path: find(path) is not None,
            self._load,
            options=TensorFlowOptions,
            estimate_bytes=_estimate_bytes,
            estimate_loaded_bytes=lambda servable: _loaded_bytes(servable.size_bytes),
            destroy=TensorFlowServable.close,
            prepare=lambda: import_tensorflow("tensorflow"),
        )
        self._lock = threading.Lock()
        self._intra_op_threads: list[int | None] = []

    def _load(self, id: ServableId, path: Path, options: TensorFlowOptions) -> TensorFlowServable:  # noqa: A002  # TF Serving's word
        what = str(id)
        tensorflow = import_tensorflow(what)
        found = find(path)
        if found is None:
            raise no_model(what, path, LOOKS_FOR)
        threads = self._agree(options.intra_op_threads)
        load = load_keras if found.is_file() else load_saved_model
        model = load(tensorflow, what, found, options)
        notes = [f"allowed although it does more than compute: {name}" for name in model.allowed_ops]
        if options.intra_op_threads not in (None, threads):
            first = "their number to TensorFlow" if threads is None else f"it to {threads}"
            notes.append(f"intra_op_threads has no effect: the first TensorFlow model of this process left {first}")
        try:
            check_batched(what, options, model.endpoints)
            description = Description("tensorflow", tensorflow.__version__, threads=threads, notes=tuple(notes))
            return TensorFlowServable(what, model, description, size_bytes(found))
        except LoadFailed:
            model.session.close()
            raise

    def _agree(self, threads: int | None) -> int | None:
        """Return what the first load has asked for: the threads within an operation are the process's."""
        with self._lock:
            self._intra_op_threads = self._intra_op_threads or [threads]
            return self._intra_op_threads[0]


def _estimate_bytes(path: Path) -> int | None:
    """What is loaded; of a Keras file its variables again, whose values stand beside those that Keras makes first."""
    model = find(path)
    if model is None:
        return None
    size = size_bytes(model)
    return _loaded_bytes(size) + (size if model.is_file() else 0)


def _loaded_bytes(size: int) -> int:
    """The variables and the graph, and a fifth on top."""
    return size * 6 // 5 + 8 * _MIB
