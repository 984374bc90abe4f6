"""A plan is made of requests' rows and lengths alone."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.registry.servable import Signature, TensorSpec
from pipeline.serving.form import form_of
from pipeline.serving.plan import MOST_PADDING, Member, plan
from pipeline.settings import BatchingSettings
from tests.unit.serving.text_servable import TextServable


def planned(members: list[tuple[int, int]], **settings: Any) -> list[tuple[list[tuple[int, int, int]], int, int]]:
    """Return the calls for (rows, length) of requests: (member, start, rows) of each part, size, and length."""
    form = form_of("text/1", TextServable(), "serving_default", BatchingSettings(**settings))
    calls = plan(form, [Member((), rows, (length,)) for rows, length in members])
    return [([(it.member, it.start, it.rows) for it in call.parts], call.size, call.lengths[0]) for call in calls]


def test_without_settings_requests_of_one_length_are_one_call() -> None:
    assert planned([(1, 5), (3, 4), (2, 5)]) == [([(0, 0, 1), (2, 0, 2)], 3, 5), ([(1, 0, 3)], 3, 4)]


def test_a_request_without_rows_stands_alone_and_is_no_call_of_the_model() -> None:
    assert planned([(1, 5), (0, 5)], allowed_batch_sizes=(4,)) == [([(1, 0, 0)], 0, 5), ([(0, 0, 1)], 4, 5)]


def test_calls_are_filled_to_the_limit_and_what_does_not_fit_goes_on_in_the_next() -> None:
    assert planned([(2, 1), (7, 1), (1, 1)], max_rows=4) == [
        ([(0, 0, 2), (1, 0, 2)], 4, 1),
        ([(1, 2, 4)], 4, 1),
        ([(1, 6, 1), (2, 0, 1)], 2, 1),
    ]


@pytest.mark.parametrize(
    ("rows", "sizes"), [(1, [1]), (2, [8]), (8, [8]), (9, [32]), (32, [32]), (33, [32, 1]), (70, [32, 32, 8])]
)
def test_calls_are_padded_up_to_the_next_allowed_size_and_never_larger_than_the_largest(
    rows: int, sizes: list[int]
) -> None:
    assert [size for _, size, _ in planned([(1, 1)] * rows, allowed_batch_sizes=(1, 8, 32))] == sizes
    assert [size for _, size, _ in planned([(rows, 1)], allowed_batch_sizes=(1, 8, 32))] == sizes


def test_padded_requests_go_together_the_shortest_first() -> None:
    assert planned([(1, 5), (2, 3)], variable_length="pad") == [([(1, 0, 2), (0, 0, 1)], 3, 5)]
    assert planned([(1, 5), (1, 9)], variable_length="pad", pad_to_multiple_of=8)[0][2] == 16


def test_one_long_request_does_not_make_all_the_short_ones_long() -> None:
    calls = planned([(1, 1)] * 100 + [(1, 1000)], variable_length="pad")
    assert [(len(parts), length) for parts, _, length in calls] == [(100, 1), (1, 1000)]
    # 2 rows of ids, mask and weight: one row of 13 is 13 + 13 + 2, two rows of 1 and 13 are 2 * 28.
    assert MOST_PADDING == 4
    assert len(planned([(1, 1), (1, 13)], variable_length="pad")) == 1


def test_a_signature_without_a_batch_has_one_request_a_call() -> None:
    servable = TextServable()
    form = form_of("text/1", servable, "serving_default", BatchingSettings(unbatched=("serving_default",)))
    assert not form.signature.batched
    assert [len(call.parts) for call in plan(form, [Member((), 1, (2, 5))] * 3)] == [1, 1, 1]


def test_the_size_that_a_static_signature_has_is_its_only_one() -> None:
    class Static:
        signatures = {  # noqa: RUF012  # what users write
            "a": Signature((TensorSpec("x", "FP32", (4, 3)),), (TensorSpec("y", "FP32", (4,)),), batched=False),
            "b": Signature((TensorSpec("x", "FP32", (2, 3)),), (TensorSpec("y", "FP32", (2,)),)),
            "c": Signature((TensorSpec("x", "FP32", (4, 3)),), (TensorSpec("y", "FP32", ()),), batched=False),
        }

        def predict(self, signature: str, inputs: Any) -> Any:
            raise NotImplementedError

    allowed = BatchingSettings(allowed_batch_sizes=(1, 4, 8))

    def sizes(name: str, settings: BatchingSettings) -> tuple[bool, tuple[int, ...]]:
        form = form_of("static/1", Static(), name, settings)
        return form.signature.batched, form.sizes

    assert sizes("a", allowed) == (True, (4,))
    assert sizes("a", BatchingSettings()) == (False, ())
    assert sizes("a", BatchingSettings(allowed_batch_sizes=(4,), unbatched=("a",))) == (False, ())
    assert sizes("b", BatchingSettings()) == (True, (2,))
    assert sizes("c", allowed) == (False, ())
