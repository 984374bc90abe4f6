"""Which names are versions, and which versions are aspired."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from pipeline.storage.versions import All, Latest, Specific, choose, parse_version, sort_children


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("0", 0), ("7", 7), ("007", 7), ("20170111173521", 20170111173521), (str(2**63 - 1), 2**63 - 1),
        (str(2**63), None), ("9" * 200, None), ("-1", None), ("+1", None), (" 1", None), ("1 ", None), ("1\n", None),
        ("1e3", None), ("1_000", None), ("1.0", None), ("", None), ("v1", None), ("\u0661", None), ("²", None),
    ],
)  # fmt: skip
def test_a_version_is_plain_digits_that_fit_64_bits(name, version):
    assert parse_version(name) == version


def test_the_canonical_spelling_wins_and_without_one_the_first():
    assert sort_children(["007", "07", "7"])[0] == {7: "7"}
    assert sort_children(["07", "007"])[0] == {7: "007"}
    assert set(sort_children(["007", "07", "7"])[1]) == {"007", "07"}


def test_near_numbers_are_reported_and_other_names_are_not():
    chosen, refused = sort_children(["-1", " 2", "1\n", "9" * 30, "README", "1e3", "tmp", "3"])
    assert chosen == {3: "3"}
    assert set(refused) == {"-1", " 2", "1\n", "9" * 30}


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        (Latest(), (9,)), (Latest(2), (5, 9)), (Latest(0), (9,)), (Latest(99), (1, 5, 9)),
        (All(), (1, 5, 9)), (Specific((5, 7)), (5,)), (Specific(()), ()),
    ],
)  # fmt: skip
def test_a_policy_chooses_versions(policy, chosen):
    assert choose([5, 9, 1], policy) == chosen


@given(st.lists(st.integers(0, 50)), st.integers(1, 5))
def test_the_latest_are_the_highest_without_repetition(seen, count):
    assert choose(seen, Latest(count)) == tuple(sorted(set(seen))[-count:])


@given(st.lists(st.text(max_size=6)))
def test_any_listing_is_sorted_without_an_error(names):
    chosen, refused = sort_children(names)
    assert all(parse_version(name) == version for version, name in chosen.items())
    assert not set(chosen.values()) & set(refused) or len(names) != len(set(names))
