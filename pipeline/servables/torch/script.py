"""TorchScript: ``*.ts`` or ``*.pt`` of ``torch.jit.save``."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Final

from pipeline.errors import InvalidArtefact
from pipeline.servables.framework import first_line
from pipeline.servables.torch.archive import Archive, check_as_read_by_torch, held_note
from pipeline.servables.torch.declared import declared_signatures, module_model
from pipeline.servables.torch.model import Model
from pipeline.servables.torch.options import TorchOptions

_LIBRARIES: Final = ("aten", "prim", "prims", "quantized")
_CLASSES: Final = ("quantized", "rnn")
# An operator of a library stands as ops.LIBRARY.NAME, one of PyTorch's own as torch.NAME, a class of C++ in this way.
_OPERATOR: Final = re.compile(r"\bops\b(?:\.(\w+)\.\w+)?")
_CLASS: Final = re.compile(r"__torch__\.torch\.classes\.(\w+)")
_FILES: Final = re.compile(r"\b(save|from_file)\b")


def is_script(records: Collection[str]) -> bool:
    """Whether an archive of these records is TorchScript, and not what ``torch.save`` writes."""
    return "constants.pkl" in records


def is_bulk(record: str) -> bool:
    """Whether a record is the bytes of one tensor, of any size."""
    return re.fullmatch(r"(data|constants)/\d+", record) is not None


def load_script(what: str, file: Path, archive: Archive, options: TorchOptions, torch: Any) -> Model:
    """Load the module to the device. Raises InvalidArtefact. Blocks.

    Its code is TorchScript, which knows no Python, but has an operator that writes files and one that maps them, and
    loading runs the code's ``__setstate__``: so the code is looked at before.
    """
    signatures = declared_signatures(what, file, options)
    check_as_read_by_torch(what, file, archive, torch)
    _check_code(what, archive, options.operators)
    try:
        module = torch.jit.load(str(file), map_location=options.device)
        notes = held_note(sum(archive.sizes.values()), "a state dict")
        return module_model(what, module, _argument_names, signatures, notes)
    except (RuntimeError, ValueError, TypeError, UnicodeDecodeError, AttributeError) as error:
        raise InvalidArtefact(what, f"PyTorch can not load {file.name}: {first_line(error)}") from error


def _argument_names(method: Any) -> Sequence[str]:
    return [argument.name for argument in method.schema.arguments if argument.name != "self"]


def _check_code(what: str, archive: Archive, libraries: tuple[str, ...]) -> None:
    if "model.json" in archive.sizes:
        raise InvalidArtefact(what, "the file is TorchScript of before PyTorch 1.3; load and save it again")
    for record, content in archive.records.items():
        if not record.endswith(".py"):
            continue
        code = content.decode("ascii", "replace")
        if _FILES.search(code):
            raise InvalidArtefact(what, f"{record} uses {_FILES.findall(code)[0]}, which reads or writes files")
        for pattern, allowed, noun in (
            (_OPERATOR, (*_LIBRARIES, *libraries), "operators"),
            (_CLASS, (*_CLASSES, *libraries), "classes"),
        ):
            other = [name or "an unnamed library" for name in pattern.findall(code) if name not in allowed]
            if other:
                reason = f"{record} uses {noun} of {other[0]}; allow it in the options: operators: [{other[0]}]"
                raise InvalidArtefact(what, reason)
