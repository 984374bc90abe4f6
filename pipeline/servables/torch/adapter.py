"""The source adapter of PyTorch models, and the load of one: which file, in which format."""

from __future__ import annotations

from pathlib import Path

from pipeline.registry.servable import ServableId
from pipeline.registry.simple_loader import SimpleAdapter
from pipeline.servables.model_file import no_model
from pipeline.servables.torch import package, program, program_check, script, state_dict
from pipeline.servables.torch.archive import is_long, read_archive, record_sizes
from pipeline.servables.torch.files import LOOKS_FOR, find_model
from pipeline.servables.torch.model import Model, TorchServable
from pipeline.servables.torch.options import TorchOptions
from pipeline.servables.torch.runtime import check_device, import_torch

# What PyTorch and its graphs take beside the weights.
_MODULE_BYTES = 16 << 20


class TorchAdapter(SimpleAdapter):
    """Source adapter of PyTorch models; see ``find_model`` for the files and ``TorchOptions`` for the options."""

    def __init__(self) -> None:
        super().__init__(
            "torch",
            LOOKS_FOR,
            lambda path: find_model(path) is not None,
            load_version,
            options=TorchOptions,
            estimate_bytes=_estimate_bytes,
            destroy=TorchServable.close,
            prepare=lambda: import_torch("torch"),
            wants_process=_wants_process,
        )


def load_version(id: ServableId, path: Path, options: TorchOptions) -> TorchServable:  # noqa: A002  # TF Serving's word
    """Load one version. Raises MissingExtra, InvalidArtefact, and LoadFailed. Blocks for as long as PyTorch takes."""
    what = str(id)
    torch = import_torch(what)
    check_device(what, torch, options.device)
    file = find_model(path)
    if file is None:
        raise no_model(what, path, LOOKS_FOR)
    return TorchServable(what, torch, _load(what, file, options, torch), options.device, options.threads)


def _load(what: str, file: Path, options: TorchOptions, torch: object) -> Model:
    if file.suffix == ".safetensors":
        return state_dict.load_safetensors(what, file, options, torch)
    if file.suffix == ".pt2":
        archive = read_archive(what, file, lambda record: program_check.is_bulk(record) or package.is_bulk(record))
        if package.is_package(archive.sizes):
            return package.load_package(what, file, archive, options, torch)
        return program.load_program(what, file, archive, options, torch)
    archive = read_archive(what, file, script.is_bulk)
    if script.is_script(archive.sizes):
        return script.load_script(what, file, archive, options, torch)
    return state_dict.load_saved(what, file, options, torch)


def _wants_process(path: Path) -> bool:
    """Whether PyTorch holds the GIL for long over the version; see docs/isolation.md.

    It reads a TorchScript file as a whole, and a program tensor by tensor. A package it runs with the GIL, too, and
    never unmaps.
    """
    file = find_model(path)
    sizes = {} if file is None or file.suffix == ".safetensors" else record_sizes(file)
    if file is None or not sizes:
        return False
    if file.suffix == ".pt2":
        return package.is_package(sizes) or is_long(max(sizes.values()))
    return script.is_script(sizes) and is_long(sum(sizes.values()))


def _estimate_bytes(path: Path) -> int | None:
    """The file, a fifth on top, and the module."""
    file = find_model(path)
    return None if file is None else file.stat().st_size * 6 // 5 + _MODULE_BYTES
