"""Which requests of a target fit the form that answers them: those are the members of its plan."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from pipeline.errors import PenstockError
from pipeline.records import PredictRequest
from pipeline.serving import batching
from pipeline.serving.batching import Layout
from pipeline.serving.form import Form
from pipeline.serving.plan import Member


class Held(Protocol):
    """A request in the data path; with ``error`` set it is refused. ``framing`` is how its bytes are framed."""

    request: PredictRequest | None
    error: PenstockError | None

    def fail(self, error: PenstockError) -> None:
        """Refuse it for this reason."""
        ...

    @property
    def framing(self) -> object:
        """See Framing."""
        ...


def members_of(form: Form, layouts: Mapping[Layout, Sequence[int]], batch: Sequence[Held]) -> list[tuple[int, Member]]:
    """Return the requests that fit, by position; the others get the error that says why not."""
    return [found for layout, positions in layouts.items() for found in _of_layout(form, layout, positions, batch)]


def _of_layout(
    form: Form, layout: Layout, positions: Sequence[int], batch: Sequence[Held]
) -> Iterator[tuple[int, Member]]:
    try:
        fit = batching.match(form, layout)
    except PenstockError as error:
        for position in positions:
            batch[position].fail(error)
        return
    for position in positions:
        request = batch[position].request
        try:
            if request is not None:
                yield position, batching.member(form, fit, request.inputs, request.deadline_ms)
        except PenstockError as error:
            batch[position].fail(error)
