"""How requests of one signature are joined into calls: what its version declares, under the settings of its stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline.errors import InvalidSettings, UnknownSignature, WrongShape
from pipeline.registry.handle import Handle
from pipeline.registry.servable import Servable, Signature, TensorSpec
from pipeline.serving import declared, padding
from pipeline.settings import BatchingSettings


class Axis(NamedTuple):
    """One axis of one tensor of a signature. Axes of one ``slot`` have the same length in all tensors of a call."""

    tensor: int
    axis: int
    slot: int


@dataclass(frozen=True)
class Form:
    """One signature of one version, ready to plan by.

    ``signature`` is what ``declared.complete`` made of it. ``sizes`` are the numbers of rows that a call may have,
    increasing, empty where any is allowed; a call has at most ``max_rows``, 0 for no limit. A slot is a length that
    differs from request to request: ``inputs`` and ``outputs`` are the axes that have one. With ``is_padding`` shorter
    requests are padded by ``pad_values``, one for each input, up to a multiple of ``multiples``, one for each slot.
    ``mask`` is the place of the input that is made where a request lacks it. ``fits`` are the layouts that
    ``batching.match`` has met.
    """

    servable: str
    name: str
    signature: Signature
    sizes: tuple[int, ...]
    max_rows: int
    inputs: tuple[Axis, ...]
    outputs: tuple[Axis, ...]
    multiples: tuple[int, ...]
    is_padding: bool
    pad_values: tuple[Any, ...]
    mask: int | None
    fits: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    def size(self, rows: int) -> int:
        """Return the number of rows that a call with so many is padded to."""
        return next((size for size in self.sizes if size >= rows), rows)

    def lengths(self, shapes: Sequence[tuple[int, ...] | None]) -> tuple[int, ...]:
        """Return the length of each slot in tensors of these shapes, None for a mask that is to be made.

        The shapes fit the specs, in their order. Raises WrongShape where two axes of one slot differ.
        """
        lengths = [0] * len(self.multiples)
        owners: dict[int, Axis] = {}
        for it in self.inputs:
            shape = shapes[it.tensor]
            if shape is None:
                continue
            owner = owners.setdefault(it.slot, it)
            if owner is it:
                lengths[it.slot] = shape[it.axis]
            elif shape[it.axis] != lengths[it.slot]:
                raise self._disagree(it, owner, shape, lengths[it.slot])
        return tuple(lengths)

    def input_shape(self, tensor: int, rows: int, lengths: Sequence[int]) -> list[int]:
        """Return the shape of an input of a batched call."""
        return _shape(self.signature.inputs[tensor], rows, [it for it in self.inputs if it.tensor == tensor], lengths)

    def output_shape(self, tensor: int, rows: int, lengths: Sequence[int]) -> list[int]:
        """Return the shape of an output of a batched call; 0 stands for a length that nobody knows beforehand."""
        return _shape(self.signature.outputs[tensor], rows, [it for it in self.outputs if it.tensor == tensor], lengths)

    def _disagree(self, it: Axis, owner: Axis, shape: tuple[int, ...], expected: int) -> WrongShape:
        spec, other = self.signature.inputs[it.tensor], self.signature.inputs[owner.tensor]
        wanted = (*shape[: it.axis], expected, *shape[it.axis + 1 :])
        axis = _name(spec, it.axis) or str(it.axis)
        return WrongShape(self.servable, spec.name, wanted, shape, f"{other.name!r} has another length in axis {axis}")


def form_in_use(handle: Handle, name: str, settings: BatchingSettings) -> Form:
    """Return what ``form_of`` does for the version in hand; it is made anew only where the settings have changed."""
    made: tuple[BatchingSettings, Form] | None = handle.derived.get(name)
    if made is None or made[0] != settings:
        made = handle.derived[name] = (settings, form_of(str(handle.id), handle.servable, name, settings))
    return made[1]


def form_of(id: str, servable: Servable, name: str, settings: BatchingSettings) -> Form:  # noqa: A002  # TF Serving's word
    """Return the form of one signature of a version under the settings of its stream. Pure.

    Raises UnknownSignature, and InvalidSettings where the settings do not fit the signature.
    """
    own = servable.signatures.get(name)
    if own is None:
        raise UnknownSignature(id, name, tuple(servable.signatures))
    signature, sizes = declared.complete(id, name, own, settings)
    mask = _place_of(settings.mask, signature)
    slots, inputs = _inputs(signature, mask)
    outputs = tuple(
        Axis(tensor, axis, slots[_name(spec, axis)])
        for tensor, spec in enumerate(signature.outputs)
        for axis in _axes(signature, spec)
        if _name(spec, axis) in slots
    )
    is_padding = signature.batched and settings.variable_length == "pad" and any(_open(signature, it) for it in inputs)
    if is_padding:
        _check_outputs(id, signature)
    fixed = {it.slot for it in inputs if not _open(signature, it)}
    return Form(
        servable=id,
        name=name,
        signature=signature,
        sizes=sizes,
        max_rows=sizes[-1] if sizes else settings.max_rows,
        inputs=inputs,
        outputs=outputs,
        multiples=tuple(1 if slot in fixed else settings.pad_to_multiple_of for slot in range(len(slots))),
        is_padding=is_padding,
        pad_values=_pad_values(id, signature, settings, mask, inputs) if is_padding else (),
        mask=mask if mask is not None and _can_be_made(mask, signature, inputs) else None,
    )


def _shape(spec: TensorSpec, rows: int, axes: Sequence[Axis], lengths: Sequence[int]) -> list[int]:
    shape = [rows, *(max(length, 0) for length in spec.shape[1:])]
    for it in axes:
        shape[it.axis] = lengths[it.slot]
    return shape


def _axes(signature: Signature, spec: TensorSpec) -> range:
    """The axes of a tensor but the batch."""
    return range(1 if signature.batched else 0, len(spec.shape))


def _name(spec: TensorSpec, axis: int) -> str:
    return spec.axes[axis] if spec.axes else ""


def _open(signature: Signature, it: Axis) -> bool:
    return signature.inputs[it.tensor].shape[it.axis] < 0


def _place_of(mask: str, signature: Signature) -> int | None:
    names = [spec.name for spec in signature.inputs]
    return names.index(mask) if signature.batched and mask in names else None


def _inputs(signature: Signature, mask: int | None) -> tuple[dict[Any, int], tuple[Axis, ...]]:
    """Return the slots, by the name of their axes or by the one axis without a name, and the inputs' axes.

    An axis of the mask that has no name is the same axis of the first other input in which it is open.
    """
    slots: dict[Any, int] = {}
    axes = []
    for tensor, spec in enumerate(signature.inputs):
        for axis in _axes(signature, spec):
            if spec.shape[axis] < 0 or _name(spec, axis):
                described = next(_described(signature, axis, mask), tensor) if tensor == mask else tensor
                key = _name(spec, axis) or _name(signature.inputs[described], axis) or (described, axis)
                axes.append(Axis(tensor, axis, slots.setdefault(key, len(slots))))
    return slots, tuple(axes)


def _described(signature: Signature, axis: int, mask: int | None) -> Iterator[int]:
    for tensor, spec in enumerate(signature.inputs):
        if tensor != mask and axis < len(spec.shape) and spec.shape[axis] < 0:
            yield tensor


def _can_be_made(mask: int, signature: Signature, inputs: Sequence[Axis]) -> bool:
    """Whether other inputs tell the lengths of all its open axes."""
    told = {it.slot for it in inputs if it.tensor != mask}
    return signature.inputs[mask].datatype != "BYTES" and all(it.slot in told for it in inputs if it.tensor == mask)


def _check_outputs(servable: str, signature: Signature) -> None:
    """Raise InvalidSettings for an open axis without a name: nobody could tell whether padding makes it longer."""
    for spec in signature.outputs:
        for axis in _axes(signature, spec):
            if spec.shape[axis] < 0 and not _name(spec, axis):
                reason = f"output {spec.name!r} may have any length in axis {axis}, so that needs a name to be cut by"
                step = "that of an input's axis where it has the same length, else any other"
                raise InvalidSettings(f"batching.axes of {servable}", f"{reason}: {step}")


def _pad_values(
    servable: str, signature: Signature, settings: BatchingSettings, mask: int | None, inputs: Sequence[Axis]
) -> tuple[Any, ...]:
    """The element that pads each input: 0 for the mask, and for inputs that are never padded."""
    padded = {it.tensor for it in inputs if _open(signature, it)} - {mask}
    values = []
    for place, spec in enumerate(signature.inputs):
        given = settings.pad_value
        value = given.get(spec.name, 0) if isinstance(given, dict) else given
        try:
            values.append(padding.element(spec.datatype, value if place in padded else 0))
        except (TypeError, ValueError, OverflowError):
            reason = f"{value!r} is no {spec.datatype}, which input {spec.name!r} is"
            raise InvalidSettings(f"batching.pad_value of {servable}", f"{reason}; give one for each input") from None
    return tuple(values)
