"""The signature of a whole pipeline from those of its steps: pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import msgspec

from pipeline.registry.servable import Signature, TensorSpec
from pipeline.servables.pipeline.plan import Plan, StepPlan

REQUEST = "the request"


class Mismatch(ValueError):
    """The steps do not fit together; the text names the steps and the tensors."""


class Wiring(NamedTuple):
    """What one call of a step takes, makes and leaves behind.

    ``inputs`` and ``outputs``: (the step's spec, name in the pipeline). ``done_with``: the names in the pipeline that
    nobody needs after this step.
    """

    step: StepPlan
    inputs: tuple[tuple[TensorSpec, str], ...]
    outputs: tuple[tuple[TensorSpec, str], ...]
    is_batched: bool
    done_with: tuple[str, ...]


class Composition(NamedTuple):
    """A pipeline that fits together."""

    signature: Signature
    wirings: tuple[Wiring, ...]


class _Tensor(NamedTuple):
    """A tensor of the pipeline: who makes it, as what, and the step whose axis names it has."""

    maker: str
    spec: TensorSpec
    axes_of: str


def compose(plan: Plan, signatures: Sequence[Signature]) -> Composition:
    """Return the whole of steps whose signatures these are; raises Mismatch.

    It is batched when all steps are. A tensor that no step has made when a step asks for it is an input of the whole.
    """
    tensors: dict[str, _Tensor] = {}
    pairs = list(zip(plan.steps, signatures, strict=True))
    for step, signature in pairs:
        _check_names(step, signature)
        for spec in signature.inputs:
            _connect(tensors, step, spec)
        for spec in signature.outputs:
            _add(tensors, step, spec)
    outputs = _outputs(plan, signatures[-1], tensors)
    inputs = [name for name, tensor in tensors.items() if tensor.maker == REQUEST]
    if plan.inputs and set(plan.inputs) != set(inputs):
        raise Mismatch(f"its steps need {_list(inputs)} of the request, the pipeline declares {_list(plan.inputs)}")
    if not inputs:
        raise Mismatch("it has no inputs: every tensor is made by a step")
    is_batched = all(signature.batched for signature in signatures)
    specs = _with_own_axes({name: tensors[name] for name in (*inputs, *outputs)}, is_batched=is_batched)
    whole = Signature(tuple(specs[n] for n in inputs), tuple(specs[n] for n in outputs), batched=is_batched)
    return Composition(whole, tuple(_wirings(pairs, outputs)))


def _check_names(step: StepPlan, signature: Signature) -> None:
    """Refuse a renaming of what the step does not have, and two tensors under one name."""
    for which, renamed, specs in (
        ("input", step.inputs, signature.inputs),
        ("output", step.outputs, signature.outputs),
    ):
        own = [spec.name for spec in specs]
        unknown = sorted(set(renamed).difference(own))
        if unknown:
            raise Mismatch(f"step {step.name!r} has no {which} {_list(unknown)}, it has {_list(own)}")
    made = [step.outputs.get(spec.name, spec.name) for spec in signature.outputs]
    if len(set(made)) != len(made):
        raise Mismatch(f"step {step.name!r} would make two tensors of one name: {_list(made)}")


def _connect(tensors: dict[str, _Tensor], step: StepPlan, spec: TensorSpec) -> None:
    """Take one input of a step from what is there, or from the request."""
    name = step.inputs.get(spec.name, spec.name)
    there = tensors.get(name)
    if there is None:
        tensors[name] = _Tensor(REQUEST, msgspec.structs.replace(spec, name=name), step.name)
        return
    reason = _difference(there.spec, spec)
    if reason:
        maker = REQUEST if there.maker == REQUEST else f"step {there.maker!r}"
        raise Mismatch(
            f"tensor {name!r} of {maker} is {_text(there.spec)}, input {spec.name!r} of step {step.name!r} is "
            f"{_text(spec)}: they differ in {reason}"
        )
    if there.maker == REQUEST:
        # Two steps ask for it: what either knows of its shape holds.
        shape = tuple(max(one, other) for one, other in zip(there.spec.shape, spec.shape, strict=True))
        tensors[name] = _Tensor(REQUEST, msgspec.structs.replace(there.spec, shape=shape), there.axes_of)


def _add(tensors: dict[str, _Tensor], step: StepPlan, spec: TensorSpec) -> None:
    name = step.outputs.get(spec.name, spec.name)
    there = tensors.get(name)
    if there is not None:
        whose = "is what the request brings" if there.maker == REQUEST else f"is made by step {there.maker!r}"
        raise Mismatch(
            f"output {spec.name!r} of step {step.name!r} would be tensor {name!r}, which {whose}; "
            f"rename one by inputs or outputs of its step"
        )
    tensors[name] = _Tensor(step.name, msgspec.structs.replace(spec, name=name), step.name)


def _difference(made: TensorSpec, wanted: TensorSpec) -> str | None:
    if made.datatype != wanted.datatype:
        return "datatype"
    if len(made.shape) != len(wanted.shape):
        return "the number of axes"
    if any(-1 not in (one, other) and one != other for one, other in zip(made.shape, wanted.shape, strict=True)):
        return "shape"
    return None


def _outputs(plan: Plan, last: Signature, tensors: Mapping[str, _Tensor]) -> list[str]:
    step = plan.steps[-1]
    names = list(plan.outputs) or [step.outputs.get(spec.name, spec.name) for spec in last.outputs]
    made = [name for name, tensor in tensors.items() if tensor.maker != REQUEST]
    unknown = sorted(set(names).difference(made))
    if unknown:
        raise Mismatch(f"no step makes the output {_list(unknown)}; made are {_list(made)}")
    if len(set(names)) != len(names):
        raise Mismatch(f"an output is declared twice: {_list(names)}")
    return names


def _with_own_axes(tensors: Mapping[str, _Tensor], *, is_batched: bool) -> dict[str, TensorSpec]:
    """Keep the steps' names of axes; what two steps call alike need not have one length, so it gets the step's name."""
    users: dict[str, set[str]] = {}
    for tensor in tensors.values():
        for axis in tensor.spec.axes[is_batched:]:
            users.setdefault(axis, set()).add(tensor.axes_of)
    shared = {axis for axis, steps in users.items() if axis and len(steps) > 1}
    specs = {}
    for name, (_, spec, step) in tensors.items():
        axes = tuple(
            f"{step}.{axis}" if axis in shared and not (is_batched and place == 0) else axis
            for place, axis in enumerate(spec.axes)
        )
        specs[name] = msgspec.structs.replace(spec, axes=axes)
    return specs


def _wirings(pairs: Sequence[tuple[StepPlan, Signature]], outputs: Sequence[str]) -> list[Wiring]:
    wirings: list[Wiring] = []
    needed = set(outputs)
    for step, signature in reversed(pairs):
        takes = tuple((spec, step.inputs.get(spec.name, spec.name)) for spec in signature.inputs)
        makes = tuple((spec, step.outputs.get(spec.name, spec.name)) for spec in signature.outputs)
        done_with = {name for _, name in (*takes, *makes)} - needed
        wirings.append(Wiring(step, takes, makes, signature.batched, tuple(sorted(done_with))))
        needed |= {name for _, name in takes}
    return wirings[::-1]


def _text(spec: TensorSpec) -> str:
    return f"{spec.datatype} {list(spec.shape)}"


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "nothing"
