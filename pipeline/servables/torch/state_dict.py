"""State dicts with a configured module: ``*.pth`` or ``*.pt`` of ``torch.save``, and ``*.safetensors``."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from pipeline.errors import InvalidArtefact, LoadFailed
from pipeline.servables.framework import first_line, imported
from pipeline.servables.torch.declared import declared_signatures, module_model
from pipeline.servables.torch.model import Model
from pipeline.servables.torch.options import TorchOptions

_NOTE: Final = "the file was unpickled and may have run code: allow_pickle"


def is_bulk(record: str) -> bool:
    """Whether a record is the bytes of one tensor, of any size."""
    return re.fullmatch(r"data/\d+", record) is not None


def load_saved(what: str, file: Path, options: TorchOptions, torch: Any) -> Model:
    """Load what ``torch.save`` wrote: a state dict, or, where pickles are allowed, a module. Blocks.

    Raises InvalidArtefact, LoadFailed for a module that can not be made.
    """
    signatures = declared_signatures(what, file, options)
    notes = (_NOTE,) if options.allow_pickle else ()
    try:
        # Mapped where it is copied into a module after it; a module that was pickled would live in the map.
        mapped = not options.allow_pickle
        saved = torch.load(file, map_location="cpu", mmap=mapped, weights_only=not options.allow_pickle)
    except Exception as error:
        raise InvalidArtefact(what, f"PyTorch can not load {file.name}: {_why(error)}") from error
    module = saved if isinstance(saved, torch.nn.Module) else _filled(what, file, saved, options, torch)
    return module_model(what, module.to(options.device), _argument_names, signatures, notes)


def load_safetensors(what: str, file: Path, options: TorchOptions, torch: Any) -> Model:
    """Load a state dict of safetensors. Raises as ``load_saved``, and MissingExtra. Blocks."""
    signatures = declared_signatures(what, file, options)
    safetensors = imported(what, "safetensors.torch", "safetensors", "torch")
    try:
        saved = safetensors.load_file(file)
    except Exception as error:
        raise InvalidArtefact(what, f"safetensors can not load {file.name}: {first_line(error)}") from error
    module = _filled(what, file, saved, options, torch)
    return module_model(what, module.to(options.device), _argument_names, signatures, ())


def _filled(what: str, file: Path, saved: Any, options: TorchOptions, torch: Any) -> Any:
    """Make the configured module and copy the weights into it, each of them, and no others."""
    if not options.module:
        reason = f"{file.name} holds weights alone; name their module in the options, module: package.module:Class"
        raise InvalidArtefact(what, reason)
    if not (isinstance(saved, dict) and saved and all(isinstance(value, torch.Tensor) for value in saved.values())):
        raise InvalidArtefact(what, f"{file.name} is a {type(saved).__name__}, expected a state dict: tensors by name")
    module = _made(what, options, torch)
    try:
        module.load_state_dict(saved)
    except Exception as error:
        reason = " ".join(str(error).split())[:600]
        raise InvalidArtefact(what, f"the weights are not those of {options.module}: {reason}") from error
    return module


def _made(what: str, options: TorchOptions, torch: Any) -> Any:
    package, _, name = options.module.partition(":")
    try:
        made = getattr(importlib.import_module(package), name)(**options.arguments)
    except Exception as error:
        reason = f"{options.module} can not be made with {options.arguments}: {type(error).__name__}: {error}"
        raise LoadFailed(what, reason) from error
    if not isinstance(made, torch.nn.Module):
        raise LoadFailed(what, f"{options.module} made a {type(made).__name__}, expected a torch.nn.Module")
    return made


def _argument_names(method: Any) -> Sequence[str]:
    return list(inspect.signature(method).parameters)


def _why(error: Exception) -> str:
    if type(error).__name__ == "UnpicklingError":
        first = " ".join(str(error).split())
        found = re.search(r"(GLOBAL|global) \S+ ?\S*", first)
        held = f" ({found.group()})" if found else ""
        return f"it is a pickle of more than tensors{held}; save a state dict, or set allow_pickle, which runs its code"
    return first_line(error)
