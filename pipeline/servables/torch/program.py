"""Exported programs: ``*.pt2`` of ``torch.export.save``."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pipeline.description import Signature, TensorSpec
from pipeline.errors import InvalidArtefact
from pipeline.records import DEFAULT_SIGNATURE
from pipeline.servables.framework import first_line
from pipeline.servables.signature_file import check_signature
from pipeline.servables.torch.archive import Archive, check_as_read_by_torch, held_note
from pipeline.servables.torch.datatypes import DATATYPES
from pipeline.servables.torch.model import Model, named_leaves
from pipeline.servables.torch.options import TorchOptions
from pipeline.servables.torch.program_check import check_program

# PyTorch keeps the one program that it is reading in a global, and fails where there are two.
_ONE_AT_A_TIME: Final = threading.Lock()
_NOTE: Final = "the file was loaded without checks and may have run code: allow_pickle"


def load_program(what: str, file: Path, archive: Archive, options: TorchOptions, torch: Any) -> Model:
    """Load the program and make a module of it. Raises InvalidArtefact. Blocks, one load of a program at a time."""
    if not options.allow_pickle:
        check_as_read_by_torch(what, file, archive, torch)
        check_program(what, archive, torch, options.operators)
    export = torch.export
    try:
        with _ONE_AT_A_TIME:
            program = export.load(file)
        if options.device != "cpu":
            program = export.passes.move_to_device_pass(program, options.device)
        module = program.module()
        signature = _signature(program, torch, options)
        check_signature(signature, "the program")
        arguments = _Arguments(program)
    except InvalidArtefact:
        raise
    except Exception as error:
        raise InvalidArtefact(what, f"PyTorch can not load {file.name}: {first_line(error)}") from error
    tensors = [*module.parameters(), *module.buffers()]

    def call(inputs: Mapping[str, Any]) -> Any:
        args, kwargs = arguments.of(inputs)
        return module(*args, **kwargs)

    def free() -> None:
        # A module of a program is full of cycles: its weights would stay until the next full collection.
        for tensor in tensors:
            tensor.data = tensor.data.new_empty(0)

    notes = (
        *((_NOTE,) if options.allow_pickle else ()),
        *held_note(max(archive.sizes.values()), "weights in smaller tensors"),
    )
    return Model({DEFAULT_SIGNATURE: signature}, {DEFAULT_SIGNATURE: call}, free, notes)


class _Arguments:
    """How a program is called: its inputs by name, and the constants between them, in the structure that it wants."""

    def __init__(self, program: Any) -> None:
        self._in_spec = program.call_spec.in_spec
        self._leaves = [(name, getattr(argument, "value", None)) for name, argument in _arguments(program)]

    def of(self, inputs: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        args, kwargs = self._in_spec.unflatten([inputs[name] if name else constant for name, constant in self._leaves])
        return args, kwargs


def _arguments(program: Any) -> list[tuple[str, Any]]:
    """Return the arguments in order, each with its name where it is a tensor; raises ValueError for a number."""
    arguments = []
    for argument in (spec.arg for spec in program.graph_signature.input_specs if spec.kind.name == "USER_INPUT"):
        kind = type(argument).__name__
        if kind not in ("TensorArgument", "ConstantArgument"):
            raise ValueError(f"argument {argument.name!r} is a {kind}; make it a tensor, or a constant of the export")
        arguments.append((argument.name if kind == "TensorArgument" else "", argument))
    return arguments


def _signature(program: Any, torch: Any, options: TorchOptions) -> Signature:
    """Read the signature off the program; raises ValueError for a tensor that none can have."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    inputs = [(name, values[name]) for name, _ in _arguments(program) if name]
    nodes = program.graph_signature.user_outputs
    leaves = [values.get(node) if isinstance(node, str) else None for node in nodes]
    outputs = list(named_leaves(program.call_spec.out_spec.unflatten(leaves), torch.Tensor))
    leading = {str(value.shape[0]) if value.ndim else "" for _, value in (*inputs, *outputs)}
    is_batched = len(leading) == 1 and all(value.ndim and not isinstance(value.shape[0], int) for _, value in inputs)
    batched = is_batched if options.batched is None else options.batched
    batch = next(iter(leading)) if batched else ""
    return Signature(
        tuple(_spec(name, value, batch) for name, value in inputs),
        tuple(_spec(name, value, batch) for name, value in outputs),
        batched,
    )


def _spec(name: str, value: Any, batch: str) -> TensorSpec:
    datatype = DATATYPES.get(str(value.dtype))
    if datatype is None:
        reason = "which no datatype of the protocol stands for; convert it inside"
        raise ValueError(f"tensor {name!r} is {value.dtype}, {reason}")
    symbols = ["" if isinstance(axis, int) else str(axis) for axis in value.shape]
    axes = tuple("batch" if symbol and symbol == batch else symbol for symbol in symbols)
    shape = tuple(-1 if symbol else int(axis) for symbol, axis in zip(symbols, value.shape, strict=True))
    return TensorSpec(name, datatype, shape, axes if any(axes) else ())
