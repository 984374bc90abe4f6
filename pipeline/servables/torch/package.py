"""AOTInductor packages: ``*.pt2`` of ``torch._inductor.aoti_compile_and_package``, a shared library in a zip file."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.errors import InvalidArtefact
from pipeline.records import DEFAULT_SIGNATURE
from pipeline.servables.framework import first_line
from pipeline.servables.torch.archive import Archive
from pipeline.servables.torch.declared import declared_signatures
from pipeline.servables.torch.model import Model
from pipeline.servables.torch.options import TorchOptions

_FOLDER: Final = "data/aotinductor/"
_NOTES: Final = (
    "runs native code of the version: allow_native_code",
    # Measured with bare PyTorch 2.13, too: each load unpacks the library anew, and none is ever unmapped.
    "its library, and weights inside it, stay mapped until its process ends",
    "it holds the Python lock of its process while it computes",
)


def is_package(records: Iterable[str]) -> bool:
    """Whether an archive of these records holds a shared library, whatever else it holds."""
    return any(record.startswith(_FOLDER) for record in records)


def is_bulk(record: str) -> bool:
    """Whether a record is the bytes of one tensor, of any size."""
    return re.fullmatch(r"data/(weights/\w+|constants/\w+)", record) is not None


def load_package(what: str, file: Path, archive: Archive, options: TorchOptions, torch: Any) -> Model:
    """Unpack the library to the system's folder for temporary files, and load it. Raises InvalidArtefact. Blocks.

    Compiled code checks its inputs only where it is told to, and reads beyond them otherwise; so it is told to.
    """
    if not options.allow_native_code:
        reason = f"{file.name} holds native code, which is not run unless allow_native_code is set in the options"
        raise InvalidArtefact(what, reason)
    inside = [record.removeprefix(_FOLDER) for record in archive.sizes if record.startswith(_FOLDER)]
    models = {record.split("/")[0] for record in inside}
    if len(models) != 1:
        raise InvalidArtefact(
            what, f"{file.name} holds {len(models)} models, expected one: {', '.join(sorted(models))}"
        )
    signatures = declared_signatures(what, file, options)
    if [*signatures] != [DEFAULT_SIGNATURE]:
        raise InvalidArtefact(what, f"a package has one signature, {DEFAULT_SIGNATURE}; got {', '.join(signatures)}")
    os.environ["AOTI_RUNTIME_CHECK_INPUTS"] = "1"
    try:
        inductor = importlib.import_module("torch._inductor.package")
        model = inductor.load_package(str(file), models.pop())
        pytree = importlib.import_module("torch.utils._pytree")
        in_spec = pytree.treespec_loads(model.loader.get_call_spec()[0])
    except Exception as error:
        raise InvalidArtefact(what, f"PyTorch can not load {file.name}: {first_line(error)}") from error
    names = [spec.name for spec in signatures[DEFAULT_SIGNATURE].inputs]
    if in_spec.num_leaves != len(names):
        raise InvalidArtefact(what, f"it takes {in_spec.num_leaves} inputs, declared are {', '.join(names)}")

    is_batched = signatures[DEFAULT_SIGNATURE].batched

    def call(inputs: Mapping[str, Any]) -> Any:
        tensors = [inputs[name] for name in names]
        # PyTorch compiles an axis of any length for two and more: one row is computed as two.
        is_single = is_batched and tensors[0].shape[0] == 1
        args, kwargs = in_spec.unflatten([torch.cat([tensor, tensor]) for tensor in tensors] if is_single else tensors)
        result = model(*args, **kwargs)
        return pytree.tree_map(_first_row, result) if is_single else result

    return Model(signatures, {DEFAULT_SIGNATURE: call}, _nothing, _NOTES)


def _first_row(tensor: Any) -> Any:
    return tensor[:1]


def _nothing() -> None:
    """The library goes with the last reference to the model."""
