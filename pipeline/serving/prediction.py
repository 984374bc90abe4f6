"""One call of a servable: from the tensors of its parts to arrays, and from its outputs to the tensors of each part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pipeline.errors import ModelFailed, PenstockError
from pipeline.registry.servable import Servable
from pipeline.serving import padding
from pipeline.serving.form import Axis, Form
from pipeline.serving.plan import Call
from pipeline.tensors import DTYPES, Array, Tensor, from_array, more_rows, split, stack


def run(servable: Servable, form: Form, call: Call, parts: Sequence[tuple[Tensor, ...]]) -> Mapping[str, Array]:
    """Return the outputs of one call, whose ``parts`` have these inputs, each in the signature's order.

    Without a single row the servable is not called. Blocks for as long as the model takes; raises whatever the servable
    does.
    """
    if form.signature.batched and not call.rows:
        return {spec.name: _no_rows(form, place, call) for place, spec in enumerate(form.signature.outputs)}
    columns = enumerate(zip(*parts, strict=True))
    inputs = {form.signature.inputs[place].name: _stack(form, call, place, column) for place, column in columns}
    return servable.predict(form.name, inputs)


def cut(form: Form, call: Call, outputs: Mapping[str, Array]) -> Iterable[tuple[Tensor, ...]]:
    """Return the tensors of each part, without what was padded; raises ModelFailed where that can not be."""
    if not outputs:
        raise ModelFailed(form.servable, "it returned no outputs")
    try:
        if not form.signature.batched:
            return [tuple([from_array(key, np.asarray(array)) for key, array in outputs.items()])]
        return zip(*[_cut(form, call, key, np.asarray(array)) for key, array in outputs.items()], strict=True)
    except TypeError as error:
        raise ModelFailed(form.servable, str(error)) from error


def as_error(servable: str, error: Exception) -> PenstockError:
    """Return an error of the tree for whatever a servable raised."""
    return error if isinstance(error, PenstockError) else ModelFailed(servable, f"{type(error).__name__}: {error}")


def _stack(form: Form, call: Call, place: int, column: Sequence[Tensor]) -> Array:
    if form.is_padding:
        shape = form.input_shape(place, call.rows, call.lengths)
        array = padding.stack(column, shape, form.pad_values[place])
    else:
        array = stack(column)
    return more_rows(array, call.size) if form.signature.batched and call.size > call.rows else array


def _cut(form: Form, call: Call, name: str, array: Array) -> list[Tensor]:
    if array.ndim == 0 or len(array) != call.size:
        reason = f"output {name!r} has shape {list(array.shape)} for {call.size} rows"
        raise ModelFailed(form.servable, f"{reason}; axis 0 of each output must be the rows of the inputs")
    array = array[: call.rows]
    rows = [part.rows for part in call.parts]
    axes = _padded_axes(form, name)
    if not axes:
        return split(name, array, rows)
    for it in axes:
        length = call.lengths[it.slot]
        if it.axis >= array.ndim or array.shape[it.axis] != length:
            reason = f"output {name!r} has shape {list(array.shape)}, expected {length} in axis {it.axis}"
            raise ModelFailed(form.servable, f"{reason}, as the inputs have in the axis of that name")
    return _cut_lengths(call, name, array, axes)


def _cut_lengths(call: Call, name: str, array: Array, axes: Sequence[Axis]) -> list[Tensor]:
    tensors = []
    start = 0
    for part in call.parts:
        kept = [slice(start, start + part.rows), *[slice(None)] * (array.ndim - 1)]
        for it in axes:
            kept[it.axis] = slice(part.lengths[it.slot])
        tensors.append(from_array(name, array[tuple(kept)]))
        start += part.rows
    return tensors


def _padded_axes(form: Form, name: str) -> list[Axis]:
    if not form.is_padding:
        return []
    return [it for it in form.outputs if form.signature.outputs[it.tensor].name == name]


def _no_rows(form: Form, place: int, call: Call) -> Array:
    shape = form.output_shape(place, 0, call.lengths)
    return np.empty(shape, DTYPES[form.signature.outputs[place].datatype])
