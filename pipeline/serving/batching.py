"""Which requests of a batch are computed together: pure functions, no clock, no model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar

from pipeline.errors import MissingInput, PredictTimedOut, ServableDied, UnknownInput, WrongDatatype, WrongShape
from pipeline.records import DEFAULT_SIGNATURE, PredictRequest
from pipeline.registry.servable import Signature
from pipeline.tensors import Tensor

# Name, datatype, and the axes after the first; None for a scalar, which has no axis at all.
TensorLayout = tuple[str, str, tuple[int, ...] | None]

Member = TypeVar("Member")


class GroupKey(NamedTuple):
    """Requests with one key ask the same thing of the same servable with tensors that can be stacked."""

    servable: str
    version: int | None
    label: str | None
    signature: str
    layout: tuple[TensorLayout, ...]


def key_of(request: PredictRequest, default_servable: str) -> GroupKey:
    """Return the group that a request belongs to."""
    return GroupKey(
        request.servable or default_servable,
        request.version,
        request.label,
        request.signature or DEFAULT_SIGNATURE,
        tuple([(t.name, t.datatype, t.shape[1:] if t.shape else None) for t in request.inputs]),
    )


def group(requests: Iterable[tuple[int, PredictRequest]], default_servable: str) -> dict[GroupKey, list[int]]:
    """Return the positions of the requests by group: groups in order of first appearance, positions in order."""
    groups: dict[GroupKey, list[int]] = {}
    for position, request in requests:
        groups.setdefault(key_of(request, default_servable), []).append(position)
    return groups


def match(servable: str, signature: Signature, layout: tuple[TensorLayout, ...]) -> tuple[str, ...]:
    """Return the signature's names for the tensors of a layout, in the layout's order; raises BadRequest.

    A tensor without a name stands for the only input of a signature that has one. One check holds for every request of
    a group, because they share the layout.
    """
    specs = {spec.name: spec for spec in signature.inputs}
    names: list[str] = []
    for name, datatype, axes in layout:
        full = next(iter(specs)) if not name and len(specs) == 1 else name
        spec = specs.get(full)
        if spec is None or full in names:
            raise UnknownInput(servable, name, tuple(specs))
        if datatype != spec.datatype:
            raise WrongDatatype(servable, full, spec.datatype, datatype)
        got = () if axes is None else (-1, *axes)
        # Axis 0 differs from request to request: it is free in a batched signature, and checked by ``rows`` otherwise.
        expected = spec.shape if signature.batched else (-1, *spec.shape[1:]) if spec.shape else ()
        if len(got) != len(expected) or any(e not in (-1, g) for e, g in zip(expected, got, strict=True)):
            raise WrongShape(servable, full, spec.shape, got)
        names.append(full)
    for name in specs:
        if name not in names:
            raise MissingInput(servable, name, tuple(names))
    return tuple(names)


def rows(servable: str, signature: Signature, names: tuple[str, ...], inputs: tuple[Tensor, ...]) -> int:
    """Return how many rows of a batched call one request is, 1 where the signature is not batched.

    Raises BadRequest when its tensors differ in axis 0, or axis 0 is not what an unbatched signature says.
    """
    if not signature.batched:
        specs = {spec.name: spec for spec in signature.inputs}
        for name, tensor in zip(names, inputs, strict=True):
            spec = specs[name]
            if spec.shape and spec.shape[0] not in (-1, tensor.shape[0]):
                raise WrongShape(servable, name, spec.shape, tensor.shape)
        return 1
    count = inputs[0].shape[0]
    for name, tensor in zip(names, inputs, strict=True):
        if tensor.shape[0] != count:
            raise WrongShape(servable, name, (count, *tensor.shape[1:]), tensor.shape)
    return count


def divide(members: Sequence[Member], error: Exception) -> list[list[Member]]:
    """Return the parts of a batch that has failed, to be tried next: two at least, in order.

    Halves, which finds one culprit among n in log2(n) steps. One by one where the failure cost a process, and with it
    seconds, or a whole timeout: then a culprit costs two of these, and not log2(n).
    """
    if isinstance(error, ServableDied | PredictTimedOut):
        return [[member] for member in members]
    half = len(members) // 2
    return [list(members[:half]), list(members[half:])]
