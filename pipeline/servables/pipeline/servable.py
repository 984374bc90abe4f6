"""A loaded pipeline: its steps, called one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

import pipeline
from pipeline.errors import ModelFailed, PenstockError
from pipeline.records import DEFAULT_SIGNATURE
from pipeline.registry.servable import Description, Servable, ServableId, Signature, TensorSpec, describe
from pipeline.servables.pipeline.composition import Composition, Wiring
from pipeline.tensors import DTYPES, Array


class Step:
    """One loaded step. ``id`` stands for it in errors."""

    def __init__(self, id: ServableId, servable: Servable, wiring: Wiring) -> None:  # noqa: A002  # TF Serving's word
        self._what = str(id)
        self._servable = servable
        self._wiring = wiring

    def run(self, tensors: dict[str, Array]) -> None:
        """Call the step with what it needs of ``tensors``, add what it makes, and drop what nobody needs any more.

        Raises ModelFailed, naming the step, for whatever is wrong with its tensors; an error of the tree passes.
        """
        inputs = {spec.name: tensors[name] for spec, name in self._wiring.inputs}
        self._check("takes", self._wiring.inputs, tensors)
        try:
            outputs = self._servable.predict(self._wiring.step.signature, inputs)
        except PenstockError:
            raise
        except Exception as error:
            raise ModelFailed(self._what, f"{type(error).__name__}: {error}") from error
        for spec, name in self._wiring.outputs:
            if spec.name not in outputs:
                raise ModelFailed(self._what, f"it returned no {spec.name!r}, got {', '.join(outputs) or 'nothing'}")
            tensors[name] = _as_bytes(outputs[spec.name]) if spec.datatype == "BYTES" else outputs[spec.name]
        rows = next(iter(inputs.values())).shape[:1] if self._wiring.is_batched else ()
        self._check("made", self._wiring.outputs, tensors, rows)
        for name in self._wiring.done_with:
            del tensors[name]

    def _check(
        self,
        verb: str,
        pairs: Sequence[tuple[TensorSpec, str]],
        tensors: Mapping[str, Array],
        rows: tuple[int, ...] = (),
    ) -> None:
        """Let nothing reach a model that its signature does not allow: native code need not look again."""
        for spec, name in pairs:
            array = tensors[name]
            if self._wiring.is_batched:
                rows = rows or array.shape[:1]
            expected = (*rows, *spec.shape[len(rows) :])
            fits = len(expected) == array.ndim and all(e in (-1, g) for e, g in zip(expected, array.shape, strict=True))
            if array.dtype != DTYPES[spec.datatype] or not fits:
                got = f"{array.dtype} {list(array.shape)}"
                raise ModelFailed(
                    self._what, f"it {verb} tensor {name!r} as {spec.datatype} {list(expected)}, got {got}"
                )
        if rows == (0,):
            raise ModelFailed(self._what, f"it {verb} one row or more, got none")


class PipelineServable:
    """Called from several threads at once, as its steps are; a call's tensors are its own."""

    def __init__(self, composition: Composition, steps: Sequence[Step], description: Description) -> None:
        self.signatures: Mapping[str, Signature] = {DEFAULT_SIGNATURE: composition.signature}
        self.description = description
        self._steps = tuple(steps)
        self._outputs = [spec.name for spec in composition.signature.outputs]

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:  # noqa: ARG002  # there is one
        """See Servable. Raises what a step raises, or ModelFailed in its name."""
        tensors = dict(inputs)
        for step in self._steps:
            step.run(tensors)
        return {name: tensors[name] for name in self._outputs}

    def close(self) -> None:
        """Let go of the steps, before they are unloaded."""
        self._steps = ()


def _as_bytes(array: Array) -> Array:
    """Return text as the next step expects it: what goes over the wire alike need not be alike in memory."""
    if array.dtype == object and all(isinstance(element, bytes) for element in array.flat):
        return array
    elements = np.empty(array.size, object)
    elements[:] = [element.encode() if isinstance(element, str) else bytes(element) for element in array.flat]
    return elements.reshape(array.shape)


def describe_steps(names: Sequence[str], kinds: Sequence[str], servables: Sequence[Servable]) -> Description:
    """Return what an operator should know of a pipeline: each step with its framework, and each step's own notes."""
    notes: list[str] = []
    own = [describe(servable) for servable in servables]
    for name, kind, one in zip(names, kinds, own, strict=True):
        by = f" ({one.framework} {one.framework_version})" if one.framework else ""
        notes += [f"step {name}: {kind}{by}", *(f"step {name}: {note}" for note in one.notes)]
    threads = [one.threads for one in own if one.threads is not None]
    most = max(threads) if len(threads) == len(own) else None
    return Description("penstock", pipeline.__version__, threads=most, notes=tuple(notes))
