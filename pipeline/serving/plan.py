"""Which rows of which requests are computed in which call: pure functions, no clock, no model."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from pipeline.errors import PenstockError
from pipeline.serving.form import Form
from pipeline.tensors import Tensor

# A padded call has at most so many times the elements of its requests; else the longer ones get a call of their own.
MOST_PADDING: Final = 4


class Member(msgspec.Struct, frozen=True, gc=False):
    """A request that fits its form: inputs in the signature's order, how many rows, and the length of each slot.

    No call is to begin after ``deadline_ms``, in milliseconds since the Unix epoch.
    """

    inputs: tuple[Tensor, ...]
    rows: int
    lengths: tuple[int, ...]
    deadline_ms: int | None = None


class Part(msgspec.Struct, frozen=True, gc=False):
    """Some rows of one member, by its place among the members: all of them, unless they are more than a call's."""

    member: int
    start: int
    rows: int
    lengths: tuple[int, ...]


class Call(NamedTuple):
    """One prediction: ``rows`` of its parts, padded to ``size`` rows and to ``lengths``, one for each slot.

    A batched call without rows has one part and is not computed.
    """

    parts: Sequence[Part]
    rows: int
    size: int
    lengths: tuple[int, ...]


def plan(form: Form, members: Sequence[Member]) -> list[Call]:
    """Return the calls that answer all members. The parts of one member are in order, and in calls of their own.

    Each call is as full as its form allows before the next begins. A signature that is not batched has one member a
    call. Requests without rows stand alone, so that their answers do not depend on neighbours.
    """
    parts = [Part(place, 0, it.rows, it.lengths) for place, it in enumerate(members)]
    if not form.signature.batched:
        return [call_of(form, [part]) for part in parts]
    calls = [call_of(form, [part]) for part in parts if not part.rows]
    if calls:
        parts = [part for part in parts if part.rows]
    alike = _by_padding(form, parts) if form.is_padding else _by_lengths(form, parts)
    return calls + [call_of(form, filled) for several in alike for filled in _fill(several, form.max_rows)]


def call_of(form: Form, parts: Sequence[Part]) -> Call:
    """Return the call that computes these parts."""
    rows = sum([part.rows for part in parts])
    lengths = parts[0].lengths
    if form.is_padding and rows:
        longest = map(max, zip(*[part.lengths for part in parts], strict=True))
        lengths = tuple([-(-length // step) * step for length, step in zip(longest, form.multiples, strict=True)])
    return Call(parts, rows, form.size(rows) if rows else 0, lengths)


def divide(parts: Sequence[Part], error: PenstockError) -> list[Sequence[Part]]:
    """Return what of a call that has failed is tried next, in order: nothing, or two lists at least.

    Halves, which find one culprit among n in log2(n) steps. One by one where the failure cost a process, and with it
    seconds, or a whole timeout: then a culprit costs two of these, and not log2(n). Nothing where one is left, or where
    the error is retriable and so not a culprit's.
    """
    if len(parts) < 2:
        return []
    if error.cost_a_process:
        return [[part] for part in parts]
    half = len(parts) // 2
    return [] if error.retriable else [parts[:half], parts[half:]]


def _by_lengths(form: Form, parts: list[Part]) -> Iterable[list[Part]]:
    """Requests of one form whose slots have the same lengths have the same shapes but for their rows."""
    if not form.multiples:  # there are no slots
        return [parts] if parts else []
    groups: dict[tuple[int, ...], list[Part]] = {}
    for part in parts:
        groups.setdefault(part.lengths, []).append(part)
    return groups.values()


def _by_padding(form: Form, parts: Iterable[Part]) -> Iterator[list[Part]]:
    """The shortest first; a new list begins where one more request would be too much padding for the others."""
    row_elements = functools.cache(functools.partial(_row_elements, form))
    several: list[Part] = []
    longest: tuple[int, ...] = ()
    rows = elements = 0
    for part in sorted(parts, key=lambda part: part.lengths):
        rows += part.rows
        elements += part.rows * row_elements(part.lengths)
        longest = tuple(map(max, longest or part.lengths, part.lengths))
        if several and rows * row_elements(longest) > MOST_PADDING * elements:
            yield several
            several, longest, rows = [], part.lengths, part.rows
            elements = rows * row_elements(longest)
        several.append(part)
    if several:
        yield several


def _row_elements(form: Form, lengths: tuple[int, ...]) -> int:
    inputs = range(len(form.signature.inputs))
    return sum(math.prod(form.input_shape(tensor, 1, lengths)) for tensor in inputs)


def _fill(parts: list[Part], max_rows: int) -> Iterator[list[Part]]:
    """Cut parts into lists of ``max_rows`` rows, the last one of what is left; no limit is one list."""
    if not max_rows:
        yield parts
        return
    filled: list[Part] = []
    left = max_rows
    for part in parts:
        start, end = part.start, part.start + part.rows
        while start < end:
            rows = min(left, end - start)
            filled.append(Part(part.member, start, rows, part.lengths))
            start, left = start + rows, left - rows
            if not left:
                yield filled
                filled, left = [], max_rows
    if filled:
        yield filled
