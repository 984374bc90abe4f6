"""Requests are checked by the names of axes, and settings by the signatures that they are for."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

from pipeline.errors import InvalidSettings, PenstockError, WrongShape
from pipeline.registry.servable import Servable, Signature, TensorSpec
from pipeline.serving.batching import Fit, layout_of, match, member
from pipeline.serving.form import Form, form_of
from pipeline.settings import BatchingSettings
from pipeline.tensors import Tensor, from_array
from tests.unit.serving.text_servable import TextServable, text


class Declares:
    """A servable of one signature."""

    def __init__(self, *inputs: TensorSpec, outputs: tuple[TensorSpec, ...] = (), batched: bool = True) -> None:
        self.signatures = {"serving_default": Signature(inputs, outputs, batched)}

    def predict(self, signature: str, inputs: Any) -> Any:
        raise NotImplementedError


def form(servable: Servable | None = None, **settings: Any) -> Form:
    return form_of("text/1", servable or TextServable(), "serving_default", BatchingSettings(**settings))


def fit(it: Form, inputs: tuple[Tensor, ...]) -> Fit:
    return match(it, layout_of(inputs))


def test_axes_of_one_name_have_one_length_in_a_request() -> None:
    with pytest.raises(WrongShape) as raised:
        fit(form(), text([[1, 2, 3]], [[1, 1]]))
    error = pickle.loads(pickle.dumps(raised.value))
    assert (error.tensor, error.expected, error.got) == ("mask", (-1, 3), (-1, 2))
    assert str(error) == (
        "text/1: tensor 'mask' has shape [-1, 2], expected [-1, 3]: 'ids' has another length in axis sequence"
    )


def test_an_unbatched_signature_has_its_first_axes_compared_too() -> None:
    servable = Declares(TensorSpec("x", "FP32", (-1,), ("n",)), TensorSpec("y", "FP32", (-1,), ("n",)), batched=False)
    x, y = (from_array(name, np.zeros(length, np.float32)) for name, length in (("x", 2), ("y", 3)))
    it = form(servable)
    with pytest.raises(WrongShape, match="'x' has another length in axis n"):
        member(it, fit(it, (x, y)), (x, y))


def test_a_name_from_the_settings_counts_like_one_of_the_signature() -> None:
    servable = Declares(TensorSpec("x", "FP32", (-1, -1)), TensorSpec("y", "FP32", (-1, -1)))
    inputs = tuple(from_array(name, np.zeros((1, n), np.float32)) for name, n in (("x", 2), ("y", 3)))
    assert fit(form(servable), inputs).lengths == (2, 3)
    with pytest.raises(WrongShape):
        fit(form(servable, axes={"x": ("", "n"), "y": ("", "n")}), inputs)


def test_a_missing_mask_is_ones_of_the_declared_datatype_as_long_as_the_request() -> None:
    inputs = text([[5, 6, 7], [8, 9, 10]])
    it = form(mask="mask")
    [_, mask, _] = member(it, fit(it, inputs), inputs).inputs
    assert (mask.name, mask.datatype, mask.array().tolist()) == ("mask", "INT32", [[1, 1, 1], [1, 1, 1]])


def test_a_mask_without_names_follows_the_same_axis_of_the_first_other_input() -> None:
    servable = Declares(TensorSpec("mask", "BOOL", (-1, -1)), TensorSpec("ids", "INT64", (-1, -1)))
    inputs = (from_array("ids", np.zeros((1, 4), np.int64)),)
    it = form(servable, mask="mask")
    assert member(it, fit(it, inputs), inputs).inputs[0].shape == (1, 4)


@pytest.mark.parametrize(
    "spec",
    [
        TensorSpec("mask", "BYTES", (-1, -1)),
        TensorSpec("mask", "BOOL", (-1, -1, -1)),
        TensorSpec("ids2", "BOOL", (-1,)),
    ],
    ids=str,
)
def test_a_mask_that_can_not_be_made_is_missing_like_any_input(spec: TensorSpec) -> None:
    it = form(Declares(spec, TensorSpec("ids", "INT64", (-1, -1))), mask="mask")
    with pytest.raises(PenstockError, match="is missing"):
        fit(it, (from_array("ids", np.zeros((1, 4), np.int64)),))


OPEN = TensorSpec("x", "UINT8", (-1, -1))


@pytest.mark.parametrize(
    ("servable", "settings", "words"),
    [
        (Declares(OPEN), {"axes": {"x": ("rows",)}}, r"axes of text/1: tensor 'x' has the shape \[-1, -1\]"),
        (Declares(OPEN), {"variable_length": "pad", "pad_value": -1}, "pad_value of text/1: -1 is no UINT8"),
        (Declares(OPEN), {"variable_length": "pad", "pad_value": {"x": 0.5}}, "0.5 is no UINT8"),
        (Declares(OPEN), {"variable_length": "pad", "pad_value": "a"}, "'a' is no UINT8"),
        (
            Declares(OPEN, outputs=(TensorSpec("y", "FP32", (-1, 3, -1)),)),
            {"variable_length": "pad"},
            "output 'y' may have any length in axis 2, so that needs a name",
        ),
    ],
)
def test_settings_that_do_not_fit_a_signature_are_an_error_that_says_which(
    servable: Servable, settings: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidSettings, match=words):
        form(servable, **settings)


def test_a_pad_value_is_for_the_inputs_that_are_padded_but_the_mask() -> None:
    servable = Declares(
        TensorSpec("x", "INT8", (-1, -1)), TensorSpec("b", "BYTES", (-1, 2)), TensorSpec("m", "BOOL", (-1, -1))
    )
    it = form(servable, variable_length="pad", pad_value=-7, mask="m")
    assert it.pad_values == (-7, b"", False)


def test_what_can_not_be_padded_needs_no_names() -> None:
    servable = Declares(TensorSpec("x", "FP32", (-1, 2)), outputs=(TensorSpec("y", "FP32", (-1, -1)),))
    assert not form(servable, variable_length="pad").is_padding
