"""The signature of a model that OpenVINO has read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from pipeline.errors import InvalidArtefact
from pipeline.registry.servable import Signature, TensorSpec

# OpenVINO's type names and the protocol's. bf16, f8, u1, u4 and i4 have no datatype there.
DATATYPES: Final = {
    "boolean": "BOOL",
    "u8": "UINT8",
    "u16": "UINT16",
    "u32": "UINT32",
    "u64": "UINT64",
    "i8": "INT8",
    "i16": "INT16",
    "i32": "INT32",
    "i64": "INT64",
    "f16": "FP16",
    "f32": "FP32",
    "f64": "FP64",
    "string": "BYTES",
}


def signature_of(
    name: str,
    network: Any,
    axes: Mapping[str, tuple[str, ...]],
    batch: int | None,
    names: tuple[Sequence[str], Sequence[str]] = ((), ()),
) -> Signature:
    """Return the signature of an ``ov.Model``; raises InvalidArtefact for a tensor that the protocol can not carry.

    ``axes`` names the axes of some tensors. ``batch`` is the number of rows that the model was given as its axis 0,
    which is then open in the signature. ``names`` are those of inputs and outputs where the model does not decide.
    """
    inputs = _specs(name, network.inputs, "input", names[0], axes)
    outputs = _specs(name, network.outputs, "output", names[1], axes)
    if batch is not None:
        inputs, outputs = (tuple(_opened(name, spec, batch) for spec in specs) for specs in (inputs, outputs))
    is_batched = all(spec.shape and spec.shape[0] == -1 for spec in (*inputs, *outputs))
    return Signature(inputs, outputs, batched=is_batched)


def _opened(name: str, spec: TensorSpec, batch: int) -> TensorSpec:
    if not spec.shape or spec.shape[0] != batch:
        reason = f"option batch: with {batch} rows {spec.name!r} has the shape {list(spec.shape)}, whose axis 0 is none"
        raise InvalidArtefact(name, reason)
    return TensorSpec(spec.name, spec.datatype, (-1, *spec.shape[1:]), spec.axes)


def _specs(
    name: str, ports: Sequence[Any], which: str, named: Sequence[str], axes_of: Mapping[str, tuple[str, ...]]
) -> tuple[TensorSpec, ...]:
    specs: list[TensorSpec] = []
    for place, port in enumerate(ports):
        names = sorted(port.get_names())
        tensor = named[place] if named else port.get_any_name() if names else f"{which}_{place}"
        if any(spec.name == tensor for spec in specs):
            tensor = f"{which}_{place}"
        type_name, shape = port.get_element_type().get_type_name(), port.get_partial_shape()
        if type_name not in DATATYPES:
            reason = f"{which} {tensor!r} has type {type_name}, which no datatype of the protocol stands for"
            raise InvalidArtefact(name, reason)
        if shape.rank.is_dynamic:
            raise InvalidArtefact(name, f"{which} {tensor!r} has a dynamic number of axes; a signature needs it fixed")
        lengths = tuple(-1 if axis.is_dynamic else axis.get_length() for axis in shape)
        axes = next((axes_of[one] for one in names if len(axes_of.get(one, ())) == len(lengths)), ())
        specs.append(TensorSpec(tensor, DATATYPES[type_name], lengths, axes))
    return tuple(specs)
