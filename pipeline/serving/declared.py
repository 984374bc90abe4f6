"""A signature as its stream's settings complete it: names of axes, and whether axis 0 is the batch. Pure."""

from __future__ import annotations

import msgspec

from pipeline.errors import InvalidSettings
from pipeline.registry.servable import Signature, TensorSpec
from pipeline.settings import BatchingSettings

Specs = tuple[TensorSpec, ...]


def complete(
    servable: str, name: str, signature: Signature, settings: BatchingSettings
) -> tuple[Signature, tuple[int, ...]]:
    """Return a signature with -1 in axis 0 where it is batched, and the numbers of rows that its calls may have.

    A static model has one fixed length in axis 0 of all its tensors. Where that length is allowed the signature is
    batched, and has no other. Raises InvalidSettings where a tensor has another number of axes than names.
    """
    if settings.axes:
        inputs, outputs = (_named(servable, it, settings) for it in (signature.inputs, signature.outputs))
        signature = msgspec.structs.replace(signature, inputs=inputs, outputs=outputs)
    if name in settings.unbatched:
        return msgspec.structs.replace(signature, batched=False), ()
    lengths = {spec.shape[0] if spec.shape else 0 for spec in (*signature.inputs, *signature.outputs)}
    fixed = lengths.pop() if len(lengths) == 1 else -1
    if fixed > 0 and (signature.batched or fixed in settings.allowed_batch_sizes):
        inputs, outputs = _any_rows(signature.inputs), _any_rows(signature.outputs)
        return Signature(inputs, outputs, batched=True), (fixed,)
    return signature, settings.allowed_batch_sizes if signature.batched else ()


def _named(servable: str, specs: Specs, settings: BatchingSettings) -> Specs:
    named = []
    for spec in specs:
        axes = settings.axes.get(spec.name, spec.axes)
        if axes and len(axes) != len(spec.shape):
            reason = f"tensor {spec.name!r} has the shape {list(spec.shape)}: expected {len(spec.shape)} names"
            raise InvalidSettings(f"batching.axes of {servable}", f"{reason}, got {', '.join(axes)}")
        named.append(msgspec.structs.replace(spec, axes=axes))
    return tuple(named)


def _any_rows(specs: Specs) -> Specs:
    return tuple([msgspec.structs.replace(spec, shape=(-1, *spec.shape[1:])) for spec in specs])
