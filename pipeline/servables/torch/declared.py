"""Formats whose files tell no signature: what the options or ``signature.json`` declare, and how a module is called."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from pipeline.description import Signature
from pipeline.errors import InvalidArtefact
from pipeline.records import DEFAULT_SIGNATURE
from pipeline.servables.signature_file import FILE, declared_signature, read_signatures
from pipeline.servables.torch.model import Call, Model
from pipeline.servables.torch.options import TorchOptions


def declared_signatures(what: str, file: Path, options: TorchOptions) -> dict[str, Signature]:
    """Return what the options declare, else what ``signature.json`` beside the file does; raises InvalidArtefact."""
    if options.inputs:
        batched = options.batched is not False
        return {DEFAULT_SIGNATURE: declared_signature(options.inputs, options.outputs, batched=batched)}
    signatures = read_signatures(what, file.parent)
    if not signatures:
        reason = f"{file.name} tells no signature: declare inputs and outputs in the options, or in {FILE} beside it"
        raise InvalidArtefact(what, reason)
    specs = [spec for one in signatures.values() for spec in (*one.inputs, *one.outputs)]
    text = [spec.name for spec in specs if spec.datatype == "BYTES"]
    if text:
        raise InvalidArtefact(what, f"{FILE}: {', '.join(text)} is BYTES, and PyTorch has no tensors of strings")
    return signatures


def module_model(
    what: str,
    module: Any,
    names: Callable[[Any], Sequence[str]],
    signatures: dict[str, Signature],
    notes: tuple[str, ...],
) -> Model:
    """Return a module as a model: ``serving_default`` is its ``forward``, another signature its method of that name.

    ``names`` returns the names of a method's arguments. Inputs are passed by name. Raises InvalidArtefact where the
    module has no such method, or that has no such argument.
    """
    module.eval()
    calls: dict[str, Call] = {}
    for name, signature in signatures.items():
        method = getattr(module, "forward" if name == DEFAULT_SIGNATURE else name, None)
        if not callable(method):
            raise InvalidArtefact(what, f"the module has no method {name!r}, which a signature is named after")
        known = names(method)
        unknown = [spec.name for spec in signature.inputs if spec.name not in known]
        if unknown:
            reason = f"{name}: input {', '.join(unknown)} is no argument of the module, those are {', '.join(known)}"
            raise InvalidArtefact(what, reason)
        calls[name] = partial(_call, module if name == DEFAULT_SIGNATURE else method)
    return Model(signatures, calls, _nothing, notes)


def _call(callee: Any, inputs: Mapping[str, Any]) -> Any:
    return callee(**inputs)


def _nothing() -> None:
    """A module has no cycles: it is freed with its last reference."""
