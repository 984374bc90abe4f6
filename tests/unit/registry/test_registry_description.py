"""What a version is goes into records: whatever its framework uses for text and numbers, or not at all."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from pipeline.registry.servable import Description, Signature, TensorSpec, describe


class Text(str):
    """What ``torch.__version__`` is."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"


class Described:
    def __init__(self, description, axis=-1):
        self.description = description
        self.signatures = {"serving_default": Signature((TensorSpec("x", "FP32", (axis, 2)),), ())}

    def predict(self, signature, inputs):
        return inputs


def test_signatures_are_filled_in_and_a_servable_may_say_nothing():
    found = describe(Described(None))
    assert found == Description(signatures=Described(None).signatures)


def test_text_and_numbers_of_a_framework_become_plain():
    found = describe(Described(Description("torch", Text("2.13.0"), np.int32(4)), np.int64(3)))
    assert type(found.framework_version) is str
    assert (found.framework_version, found.threads) == ("2.13.0", 4)
    assert found.signatures["serving_default"].inputs[0].shape == (3, 2)
    assert msgspec.json.decode(msgspec.json.encode(found), type=Description) == found


@pytest.mark.parametrize("description", [Description(threads=1.5), Description(notes=(object(),))])
def test_what_no_record_can_hold_is_refused(description):
    with pytest.raises((TypeError, msgspec.ValidationError)):
        describe(Described(description))
