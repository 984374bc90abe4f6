"""The options of a PyTorch model."""

from __future__ import annotations

import re
from typing import Any

from pipeline.registry.options import Options
from pipeline.servables.signature_file import Declared, declared_signature


class TorchOptions(Options, frozen=True):
    """Options of a PyTorch model.

    ``threads`` is how many one prediction may use; None leaves it to PyTorch. ``device`` is ``cpu``, ``cuda`` or
    ``cuda:N``. ``batched`` overrules what an exported program says of itself; for the others it goes with ``inputs``
    and ``outputs``, which declare the one signature of a model whose file has none. ``module`` is
    ``package.module:Class``, importable by the worker, and ``arguments`` are passed to it by name; a state dict needs
    it. ``operators`` names libraries of operators beside PyTorch's own that a model may call.

    ``allow_pickle`` lets a file be unpickled, and ``allow_native_code`` lets the shared library of an AOTInductor
    package be loaded: whoever can write to the storage can then run code in the worker.
    """

    threads: int | None = None
    device: str = "cpu"
    batched: bool | None = None
    inputs: dict[str, Declared] = {}  # noqa: RUF012  # msgspec makes a new one for each
    outputs: dict[str, Declared] = {}  # noqa: RUF012  # msgspec makes a new one for each
    module: str = ""
    arguments: dict[str, Any] = {}  # noqa: RUF012  # msgspec makes a new one for each
    operators: tuple[str, ...] = ()
    allow_pickle: bool = False
    allow_native_code: bool = False

    def __post_init__(self) -> None:
        """Raise ValueError for what can not be meant."""
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"threads is {self.threads}, expected 1 or more")
        if not re.fullmatch(r"cpu|cuda(:\d+)?", self.device):
            raise ValueError(f"device is {self.device!r}, expected cpu, cuda or cuda:N")
        if self.module and not re.fullmatch(r"[\w.]+:[\w.]+", self.module):
            raise ValueError(f"module is {self.module!r}, expected package.module:Class")
        for which, tensors in (("inputs", self.inputs), ("outputs", self.outputs)):
            text = [name for name, tensor in tensors.items() if tensor.datatype == "BYTES"]
            if text:
                raise ValueError(f"{which}: {', '.join(text)} is BYTES, and PyTorch has no tensors of strings")
        if self.inputs or self.outputs:
            declared_signature(self.inputs, self.outputs, batched=self.batched is not False)
