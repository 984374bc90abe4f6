"""What is checked of a Keras file before Keras sees it: that it is whole, no bomb, and of Keras' own classes."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pipeline.errors import InvalidArtefact
from pipeline.servables.zip_members import DAMAGED, check_members, chunks

# Weights compress a little; what grows more than this is made to fill the memory.
_MAX_EXPANSION: Final = 20
_MAX_CONFIG_BYTES: Final = 64 << 20
_MAX_DEPTH: Final = 200
_CONFIG: Final = "config.json"
# Classes of Keras' own that run code, or load other files, from their configuration.
_REFUSED: Final = frozenset(
    {"Lambda", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer", "__lambda__", "function"}
)
# Where classes may come from. keras.utils, keras.saving and the like have functions that fetch and write files.
_HOMES: Final = frozenset(
    {
        "activations", "applications", "constraints", "dtype_policies", "engine", "initializers", "layers", "losses",
        "metrics", "models", "ops", "optimizers", "quantizers", "random", "regularizers",
    }
)  # fmt: skip


def check_archive(what: str, file: Path) -> None:
    """Raise InvalidArtefact for a damaged Keras file, one that expands out of proportion, or one with foreign classes.

    Reads the whole file once, for the check sums of its members.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            check_members(archive, file.stat().st_size, _MAX_EXPANSION, 0)
            if archive.getinfo(_CONFIG).file_size > _MAX_CONFIG_BYTES:
                raise ValueError(f"{_CONFIG} has more than {_MAX_CONFIG_BYTES} bytes")
            for member in archive.infolist():
                for _ in chunks(archive, member):
                    pass
            config = json.loads(archive.read(_CONFIG))
    except (*DAMAGED, KeyError) as error:
        raise InvalidArtefact(what, f"{file.name} is no Keras file, or is damaged: {error}") from error
    _check_classes(what, file.name, config)


def _check_classes(what: str, name: str, config: Any) -> None:
    for one in _objects(what, name, config):
        class_name, module = one["class_name"], one.get("module")
        home = (module or "").removeprefix("keras.src.").removeprefix("keras.").partition(".")[0]
        is_ours = module is None or module == "keras" or (module.startswith("keras.") and home in _HOMES)
        if class_name in _REFUSED or not is_ours:
            reason = f"{name} needs {module or 'keras'}.{class_name}, which is no layer that only computes"
            raise InvalidArtefact(what, f"{reason}; export the model as a SavedModel: model.export(DIRECTORY)")


def _objects(what: str, name: str, config: Any) -> Iterator[dict[str, Any]]:
    """Yield the serialized objects of a configuration, less those that only training needs."""
    waiting = [(config, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > _MAX_DEPTH:
            raise InvalidArtefact(what, f"{name}: {_CONFIG} is nested more than {_MAX_DEPTH} deep")
        if isinstance(value, dict):
            if isinstance(value.get("class_name"), str) and isinstance(value.get("module"), str | None):
                yield value
            waiting += ((item, depth + 1) for key, item in value.items() if key != "compile_config")
        elif isinstance(value, list):
            waiting += ((item, depth + 1) for item in value)
