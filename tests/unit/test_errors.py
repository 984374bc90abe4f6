"""Every error survives pickling, has a code of its own, and is drawn in the tree."""

from __future__ import annotations

import dataclasses
import pickle
from typing import Any

import pytest

from pipeline import errors
from pipeline.errors import PenstockError


def all_errors(root: type[PenstockError] = PenstockError) -> list[type[PenstockError]]:
    return [root, *(found for child in root.__subclasses__() for found in all_errors(child))]


OURS = [kind for kind in all_errors() if kind.__module__ == errors.__name__]


def sample(kind: type[PenstockError]) -> PenstockError:
    values: dict[str, Any] = {"str": "a", "int": 1, "float": 1.0, "bool": True}
    return kind(*[values.get(str(field.type), ("a",)) for field in dataclasses.fields(kind)])


@pytest.mark.parametrize("kind", OURS)
def test_an_error_survives_pickling_with_its_message(kind: type[PenstockError]) -> None:
    error = sample(kind)
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert str(again) == str(error)
    assert str(error)
    assert again.code == error.code


@pytest.mark.parametrize("kind", OURS)
def test_an_error_is_drawn_in_the_tree(kind: type[PenstockError]) -> None:
    assert kind.__name__ in str(errors.__doc__)


def test_codes_are_distinct() -> None:
    codes = [kind.code for kind in OURS if kind is not errors.RemoteError]
    assert len(codes) == len(set(codes))
