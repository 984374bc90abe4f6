"""From the signatures of a SavedModel to those of a servable, and to the tensors of the graph that they stand for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NamedTuple

from pipeline.errors import InvalidArtefact
from pipeline.registry.servable import Signature, TensorSpec
from pipeline.servables.tensorflow.options import TensorFlowOptions

# TensorFlow's type names and the protocol's. Complex numbers, bfloat16, 8-bit floats, quantized and 4-bit integers have
# no datatype there.
DATATYPES: Final = {
    "DT_BOOL": "BOOL",
    "DT_UINT8": "UINT8",
    "DT_UINT16": "UINT16",
    "DT_UINT32": "UINT32",
    "DT_UINT64": "UINT64",
    "DT_INT8": "INT8",
    "DT_INT16": "INT16",
    "DT_INT32": "INT32",
    "DT_INT64": "INT64",
    "DT_HALF": "FP16",
    "DT_FLOAT": "FP32",
    "DT_DOUBLE": "FP64",
    "DT_STRING": "BYTES",
}


class Declared(NamedTuple):
    """One tensor of a signature: its name there and in the graph, TensorFlow's name of its type, -1 for any length.

    ``shape`` is None where the number of axes is unknown, ``graph_name`` "" for what is no dense tensor.
    """

    name: str
    graph_name: str
    type_name: str
    shape: tuple[int, ...] | None


class Endpoint(NamedTuple):
    """A signature, and the names in the graph of its inputs and outputs, in the signature's order."""

    signature: Signature
    feeds: tuple[str, ...]
    fetches: tuple[str, ...]


def endpoint(
    what: str, name: str, inputs: Iterable[Declared], outputs: Iterable[Declared], options: TensorFlowOptions
) -> Endpoint:
    """Return one signature to serve; raises InvalidArtefact for one that the protocol has no words for."""
    ins, outs = tuple(inputs), tuple(outputs)
    in_specs = tuple(_spec(what, name, "input", one) for one in ins)
    out_specs = tuple(_spec(what, name, "output", one) for one in outs)
    feeds, fetches = (tuple(one.graph_name for one in side) for side in (ins, outs))
    if len(set(feeds)) != len(feeds):
        reason = f"two inputs stand for one tensor of the graph: {', '.join(feeds)}"
        raise InvalidArtefact(what, f"signature {name!r}: {reason}")
    specs = in_specs + out_specs
    can_batch = all(spec.shape and spec.shape[0] == -1 for spec in specs)
    declared = options.batched_of(name)
    if declared and not can_batch:
        shapes = ", ".join(f"{spec.name} {list(spec.shape)}" for spec in specs)
        reason = f"the option batched is true, and not every tensor has an axis 0 of any length: {shapes}"
        raise InvalidArtefact(what, f"signature {name!r}: {reason}")
    return Endpoint(Signature(in_specs, out_specs, batched=can_batch if declared is None else declared), feeds, fetches)


def chosen(what: str, found: Iterable[str], options: TensorFlowOptions) -> list[str]:
    """Return which of the signatures that were found to serve; raises InvalidArtefact where one is missing."""
    names = list(found)
    missing = [name for name in options.signatures or () if name not in names]
    if missing or not names:
        expected = ", ".join(map(repr, missing)) or "with inputs and outputs"
        raise InvalidArtefact(what, f"the model has no signature {expected}; it has: {', '.join(names) or 'none'}")
    return names if options.signatures is None else list(options.signatures)


def type_name(number: int) -> str:
    """Return TensorFlow's name of one of its types, or the number where it has none."""
    from tensorflow.core.framework.types_pb2 import DataType  # noqa: PLC0415  # there only with TensorFlow

    return str(DataType.Name(number)) if number in DataType.values() else f"number {number}"


def check_batched(what: str, options: TensorFlowOptions, names: Iterable[str]) -> None:
    """Raise InvalidArtefact where the option ``batched`` speaks of a signature that is not served."""
    unknown = sorted(set(options.batched) - set(names)) if isinstance(options.batched, dict) else []
    if unknown:
        reason = f"the option batched names {', '.join(unknown)}, which is no signature of the model"
        raise InvalidArtefact(what, f"{reason}; it has: {', '.join(names)}")


def _spec(what: str, signature: str, side: str, tensor: Declared) -> TensorSpec:
    where = f"signature {signature!r}: {side} {tensor.name!r}"
    leave = "leave the signature out with the option signatures"
    if not tensor.graph_name:
        raise InvalidArtefact(what, f"{where} is a sparse or composite tensor, and requests carry dense ones; {leave}")
    if tensor.type_name not in DATATYPES:
        reason = f"has type {tensor.type_name}, which no datatype of the protocol stands for"
        raise InvalidArtefact(what, f"{where} {reason}; cast it in the exported function, or {leave}")
    if tensor.shape is None:
        reason = "has an unknown number of axes; a signature needs it fixed"
        raise InvalidArtefact(what, f"{where} {reason}: export with a tf.TensorSpec of known rank, or {leave}")
    return TensorSpec(tensor.name, DATATYPES[tensor.type_name], tensor.shape)
