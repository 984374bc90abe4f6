"""Which requests of a batch ask the same thing, and whether they fit what they ask: pure, no clock, no model."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from pipeline.errors import MissingInput, UnknownInput, WrongDatatype, WrongShape
from pipeline.records import DEFAULT_SIGNATURE, PredictRequest
from pipeline.serving import padding
from pipeline.serving.form import Form
from pipeline.serving.plan import Member
from pipeline.tensors import Tensor

# Name, datatype, and the axes after the first; None for a scalar, which has no axis at all.
TensorLayout = tuple[str, str, tuple[int, ...] | None]
Layout = tuple[TensorLayout, ...]

# How many layouts a form remembers: nearly all requests have one of a few.
_MOST_FITS: Final = 16


# What requests are answered by: servable, version, label and signature.
Target = tuple[str, int | None, str | None, str]
# Requests by what they ask, and by layout: those of one can be stacked. Positions are in order.
Layouts = dict[Layout, list[int]]
Targets = dict[Target, Layouts]


class Fit(NamedTuple):
    """How a layout fits a form: the place of each input among its tensors, None for the mask that it lacks.

    ``lengths`` are those of the slots where the signature is batched: all requests of the layout have them.
    """

    places: tuple[int | None, ...]
    lengths: tuple[int, ...]
    is_in_order: bool


def layout_of(inputs: Iterable[Tensor]) -> Layout:
    """Return what of a request's tensors decides whether others can be stacked with them."""
    return tuple([(t.name, t.datatype, t.shape[1:] if t.shape else None) for t in inputs])


def by_target(requests: Iterable[tuple[int, PredictRequest]], default_servable: str) -> Targets:
    """Return the positions of the requests by what they ask: targets and layouts in order of first appearance."""
    targets: Targets = {}
    alike: dict[tuple[object, ...], list[int]] = {}
    for position, request in requests:
        asked = request.servable, request.version, request.label, request.signature
        key: tuple[object, ...] = asked
        if len(request.inputs) == 1:  # nearly all have one tensor: these are told apart without a layout of each
            tensor = request.inputs[0]
            key = *asked, tensor.name, tensor.datatype, tensor.shape
        positions = alike.get(key)
        if positions is None:
            servable, version, label, signature = asked
            target = servable or default_servable, version, label, signature or DEFAULT_SIGNATURE
            positions = targets.setdefault(target, {}).setdefault(layout_of(request.inputs), [])
            if key is not asked:
                alike[key] = positions
        positions.append(position)
    return targets


def portions(layouts: Layouts, most: int) -> Iterator[Layouts]:
    """Yield the positions of one target, so many at a time, in order."""
    if sum(map(len, layouts.values())) <= most:
        yield layouts
        return
    placed = [(layout, position) for layout, positions in layouts.items() for position in positions]
    for start in range(0, len(placed), most):
        portion: Layouts = {}
        for layout, position in placed[start : start + most]:
            portion.setdefault(layout, []).append(position)
        yield portion


def match(form: Form, layout: Layout) -> Fit:
    """Return how a layout fits; raises BadRequest. One check holds for every request of a group.

    A tensor without a name stands for the only input of a signature that has one.
    """
    fit: Fit | None = form.fits.get(layout)
    if fit is None:
        fit = _match(form, layout)
        if len(form.fits) < _MOST_FITS:
            form.fits[layout] = fit
    return fit


def member(form: Form, fit: Fit, inputs: tuple[Tensor, ...], deadline_ms: int | None = None) -> Member:
    """Return a request whose layout fits as a member of a plan; raises BadRequest.

    Its tensors must have the same rows, or in an unbatched signature the axes 0 that this says.
    """
    if not fit.is_in_order:
        inputs = tuple(_arranged(form, fit, inputs))
    if not form.signature.batched:
        _check_first_axes(form, inputs)
        return Member(inputs, 1, form.lengths([tensor.shape for tensor in inputs]), deadline_ms)
    rows = inputs[0].shape[0]
    for place, tensor in enumerate(inputs):
        if tensor.shape[0] != rows:
            name = form.signature.inputs[place].name
            raise WrongShape(form.servable, name, (rows, *tensor.shape[1:]), tensor.shape)
    return Member(inputs, rows, fit.lengths, deadline_ms)


def _match(form: Form, layout: Layout) -> Fit:
    places = _places(form, layout)
    signature = form.signature
    if not signature.batched:  # the lengths include axis 0, which the layout does not know
        return Fit(places, (), places == tuple(range(len(layout))))
    shapes = [None if place is None else (-1, *(layout[place][2] or ())) for place in places]
    return Fit(places, form.lengths(shapes), places == tuple(range(len(layout))))


def _places(form: Form, layout: Layout) -> tuple[int | None, ...]:
    servable, signature = form.servable, form.signature
    specs = {spec.name: spec for spec in signature.inputs}
    found: dict[str, int] = {}
    for place, (name, datatype, axes) in enumerate(layout):
        full = next(iter(specs)) if not name and len(specs) == 1 else name
        spec = specs.get(full)
        if spec is None or full in found:
            raise UnknownInput(servable, name, tuple(specs))
        if datatype != spec.datatype:
            raise WrongDatatype(servable, full, spec.datatype, datatype)
        got = () if axes is None else (-1, *axes)
        # Axis 0 differs from request to request; where it is not the batch, ``member`` checks it.
        expected = (-1, *spec.shape[1:]) if spec.shape else ()
        if len(got) != len(expected) or any(e not in (-1, g) for e, g in zip(expected, got, strict=True)):
            raise WrongShape(servable, full, spec.shape, got)
        found[full] = place
    for place, name in enumerate(specs):
        if name not in found and place != form.mask:
            raise MissingInput(servable, name, tuple(found))
    return tuple(found.get(name) for name in specs)


def _arranged(form: Form, fit: Fit, inputs: tuple[Tensor, ...]) -> Iterator[Tensor]:
    for tensor, (spec, place) in enumerate(zip(form.signature.inputs, fit.places, strict=True)):
        if place is None:
            shape = form.input_shape(tensor, inputs[0].shape[0], fit.lengths)
            yield padding.ones(spec.name, spec.datatype, shape)
        else:
            yield inputs[place]


def _check_first_axes(form: Form, inputs: tuple[Tensor, ...]) -> None:
    for spec, tensor in zip(form.signature.inputs, inputs, strict=True):
        if spec.shape and spec.shape[0] not in (-1, tensor.shape[0]):
            raise WrongShape(form.servable, spec.name, spec.shape, tensor.shape)
