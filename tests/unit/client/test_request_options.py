"""What may be said about a request: an option that there is not, or of another type, is an error, and never ignored."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.client.request import _KINDS, RequestOptions, complete, parse

REQUEST = parse([1.0])


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"verison": 3}, "verison"),
        ({"version": "3"}, "version"),
        ({"version": 3.5}, "version"),
        ({"version": True}, "version"),
        ({"label": 5}, "label"),
        ({"deadline_ms": 1.5}, "deadline_ms"),
        ({"key": 7}, "key"),
        ({"parameters": {"top": 5}}, "top"),
        ({"replies": "there"}, "replies"),
    ],
)
def test_what_is_no_option_is_named(options, named):
    with pytest.raises(TypeError, match=named):
        complete(REQUEST, "a", "m", options)


def test_none_and_numpys_numbers_will_do():
    assert complete(REQUEST, "a", "m", {"version": None, "label": None}).version is None
    completed = complete(
        REQUEST, "a", "m", {"version": np.int64(3), "deadline_ms": np.int64(5), "parameters": {"k": "v"}}
    )
    assert (completed.version, type(completed.version), completed.parameters) == (3, int, {"k": "v"})
    assert type(completed.deadline_ms) is int
    assert complete(REQUEST, "a", "m", {"replies": None, "key": None}).id == "a"


def test_every_option_has_its_kinds():
    assert set(_KINDS) == set(RequestOptions.__annotations__)
