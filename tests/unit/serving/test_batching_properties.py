"""Whatever the neighbours and the settings are, a request is answered as if it were alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from hypothesis import given, settings as hypothesis_settings, strategies as st

from pipeline.errors import ModelFailed
from pipeline.serving.batching import layout_of, match, member
from pipeline.serving.computation import compute
from pipeline.serving.form import form_of
from pipeline.settings import BatchingSettings
from pipeline.tensors import Array, Tensor
from pipeline.testing.fakes import FakeClock
from tests.unit.serving.text_servable import TextServable, answer, text


class Asked(NamedTuple):
    inputs: tuple[Tensor, ...]
    ids: Array
    mask: Array
    weight: Array

    @property
    def is_guilty(self) -> bool:
        return bool(((self.ids == 13) & (self.mask != 0)).any())


@st.composite
def requests(draw: st.DrawFn) -> Asked:
    rows, length = draw(st.integers(0, 6)), draw(st.integers(0, 9))
    numbers = np.random.default_rng(draw(st.integers(0, 1000)))
    ids = numbers.integers(-9, 13, (rows, length))
    if ids.size and draw(st.integers(0, 4)) == 0:
        ids[numbers.integers(rows), numbers.integers(length)] = 13
    weight = numbers.integers(-4, 5, (rows, 2)).astype(np.float32)
    has_mask = draw(st.booleans())
    mask = numbers.integers(0, 2, (rows, length)) if has_mask else np.ones((rows, length))
    inputs = text(ids, mask if has_mask else None, weight)
    return Asked(tuple(draw(st.permutations(inputs))), ids, mask, weight)


@st.composite
def batching(draw: st.DrawFn) -> BatchingSettings:
    more: dict[str, Any] = {}
    sizes = tuple(sorted(draw(st.sets(st.integers(1, 9), max_size=3))))
    if not sizes:
        more["max_rows"] = draw(st.integers(0, 9))
    if draw(st.booleans()):
        more |= {"variable_length": "pad", "pad_to_multiple_of": draw(st.integers(1, 4))}
        more["pad_value"] = draw(st.sampled_from([0, 13, {"ids": -1}]))
    return BatchingSettings(allowed_batch_sizes=sizes, mask="mask", **more)


@given(asked=st.lists(requests(), max_size=12), settings=batching())
@hypothesis_settings(max_examples=300)
def test_each_request_is_answered_as_alone_and_each_call_keeps_the_limits(
    asked: list[Asked], settings: BatchingSettings
) -> None:
    servable = TextServable()
    form = form_of("text/1", servable, "serving_default", settings)
    members = []
    for it in asked:
        layout = layout_of(it.inputs)
        members.append(member(form, match(form, layout), it.inputs))
    outcomes = compute(servable, form, members, FakeClock())
    assert len(outcomes) == len(asked)
    for it, outcome in zip(asked, outcomes, strict=True):
        if it.is_guilty:
            assert isinstance(outcome.error, ModelFailed)
            continue
        assert outcome.error is None
        for name, expected in answer(it.ids, it.mask, it.weight).items():
            [got] = [tensor.array() for tensor in outcome.outputs if tensor.name == name]
            assert (got.shape, got.dtype) == (expected.shape, expected.dtype)
            assert np.array_equal(got, expected)
    for rows, length in servable.calls:
        assert rows > 0
        assert not settings.allowed_batch_sizes or rows in settings.allowed_batch_sizes
        assert not settings.max_rows or rows <= settings.max_rows
        assert length % settings.pad_to_multiple_of == 0


@given(guilty=st.sets(st.integers(0, 63), max_size=6))
def test_k_culprits_among_n_requests_cost_no_more_than_k_searches(guilty: set[int]) -> None:
    servable = TextServable()
    form = form_of("text/1", servable, "serving_default", BatchingSettings(mask="mask"))
    fit = None
    members = []
    for place in range(64):
        inputs = text([[13 if place in guilty else 1]])
        fit = fit or match(form, layout_of(inputs))
        members.append(member(form, fit, inputs))
    outcomes = compute(servable, form, members, FakeClock())
    assert {place for place, outcome in enumerate(outcomes) if outcome.error} == guilty
    assert len(servable.calls) <= 1 + 2 * 6 * len(guilty)
