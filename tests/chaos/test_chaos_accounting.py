"""What is wrong with the answers is found, each thing under its own name, and nothing else is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, strategies as st

from tests.chaos.accounting import Account, Answered, Guarantee, account, faults
from tests.chaos.requests import Asked, Kind

BOTH = list(Guarantee)
ASKED = [Asked("a", n, Kind.RESULT) for n in range(3)] + [Asked("b", 0, Kind.UNDECODABLE), Asked("b", 1, Kind.RESULT)]


def answer(asked: Asked, version: int = 2) -> Answered:
    """The right one."""
    if asked.kind is not Kind.RESULT:
        return Answered(asked.id, asked.kind, 1, 1)
    return Answered(asked.id, "result", 1, 1, version, asked.row * version)


RIGHT = [answer(asked) for asked in ASKED]
LETTERS = [("b.0", ASKED[3].value)]


def found(answered: Sequence[Answered], letters: Sequence[tuple[str, bytes]] = LETTERS) -> Account:
    return account(ASKED, answered, letters)


@pytest.mark.parametrize("guarantee", BOTH)
def test_one_right_answer_each_is_no_fault(guarantee):
    assert faults(found(RIGHT), guarantee, 0) == []


@pytest.mark.parametrize("guarantee", BOTH)
def test_a_request_without_an_answer_is_lost(guarantee):
    assert faults(found(RIGHT[:2] + RIGHT[3:]), guarantee, 0) == ["1 lost: a.2"]


def test_a_repeated_answer_is_a_duplicate_and_only_exactly_once_forbids_those_that_are_explained():
    doubled = found([*RIGHT, RIGHT[4]])
    assert (doubled.duplicates, doubled.doubled) == (1, {"b.1": 1})
    assert faults(doubled, Guarantee.AT_LEAST_ONCE, 1) == []
    assert faults(doubled, Guarantee.AT_LEAST_ONCE, 0) == ["1 duplicates, where 0 are explained"]
    assert "1 doubled: b.1" in faults(doubled, Guarantee.EXACTLY_ONCE, 1)


@given(st.data())
def test_repeating_an_earlier_run_of_answers_keeps_the_order(data):
    """At-least-once: the next owner of a partition begins at what was committed last, which is behind what it
    answers."""
    answered: list[Answered] = []
    for position, right in enumerate(RIGHT):
        answered.append(right)
        again_from = data.draw(st.integers(0, position + 1))
        answered += RIGHT[again_from : position + 1]
    assert found(answered).unordered == []


@pytest.mark.parametrize("guarantee", BOTH)
def test_an_answer_that_overtakes_an_earlier_one_of_its_key_is_out_of_order(guarantee):
    overtaken = found([RIGHT[0], RIGHT[2], RIGHT[1], RIGHT[3], RIGHT[4]])
    assert overtaken.unordered == ["a.2", "a.1"]
    assert faults(overtaken, guarantee, 0) == ["2 unordered: a.2, a.1"]


def test_keys_may_overtake_each_other():
    assert found([*RIGHT[3:], *RIGHT[:3]]).unordered == []


@pytest.mark.parametrize("guarantee", BOTH)
@pytest.mark.parametrize(
    "wrong",
    [
        Answered("a.1", "not_ready", 1, 1),
        Answered("a.1", "result", 1, 1, 2, 0.0),
        Answered("a.1", "result", 1, 1, None, None),
        Answered("a.1", "result", 0, 1, 2, ASKED[1].row * 2),
        Answered("b.0", "result", 1, 1, 2, 1.0),
        Answered("b.0", "model_error", 1, 1),
    ],
    ids=["an error", "another row", "no row", "another partition", "a result of poison", "another code"],
)
def test_an_answer_of_another_kind_is_wrong_though_a_right_one_is_there(wrong, guarantee):
    assert f"1 wrong: {wrong.id}" in faults(found([*RIGHT, wrong]), guarantee, 1)


def test_an_answer_that_nobody_asked_for_is_strange():
    assert faults(found([*RIGHT, Answered("c.0", "result", 1, 1, 2, 1.0)]), Guarantee.AT_LEAST_ONCE, 0) == [
        "1 strange: c.0"
    ]


def test_dead_letters_are_counted_as_answers_are():
    none, twice = found(RIGHT, []), found(RIGHT, LETTERS * 2)
    assert faults(none, Guarantee.AT_LEAST_ONCE, 0) == ["1 dead letters lost: b.0"]
    assert faults(twice, Guarantee.AT_LEAST_ONCE, 0) == []
    assert faults(twice, Guarantee.EXACTLY_ONCE, 0) == ["1 dead letters doubled: b.0"]
    for changed in (("b.0", b"other bytes"), ("a.0", ASKED[0].value)):
        assert faults(found(RIGHT, [*LETTERS, changed]), Guarantee.AT_LEAST_ONCE, 0) == [
            f"1 dead letters changed: {changed[0]}"
        ]


def test_what_a_clean_stop_left_uncommitted_is_a_fault():
    assert faults(account(ASKED, RIGHT, LETTERS, 3), Guarantee.AT_LEAST_ONCE, 0) == [
        "3 requests would come again after a clean stop"
    ]
