"""Every request has exactly one right answer, or the case has failed."""

from __future__ import annotations

import pytest

from benchmarks.accounting import account, faults, total

IDS = ["a", "b", "c"]


def test_one_answer_each_is_no_fault():
    one = account(IDS, ["c", "a", "b"])
    assert one["requests"] == one["answered"] == 3
    assert faults(one) == []


def test_a_request_without_a_result_is_lost():
    one = account(IDS, ["a", "c"])
    assert one["answered"] == 2
    assert faults(one) == ["1 lost"]


def test_results_beyond_the_first_are_duplicates():
    assert faults(account(IDS, ["a", "a", "a", "b", "c"])) == ["2 duplicated"]


def test_a_lost_one_and_a_duplicate_do_not_make_each_other_good():
    assert faults(account(IDS, ["a", "a", "b"])) == ["1 lost", "1 duplicated"]


def test_an_answer_to_nobody_is_unknown():
    assert faults(account(IDS, [*IDS, "d"])) == ["1 unknown"]


def test_errors_and_wrong_outputs_are_faults():
    assert faults(account(IDS, IDS, errors=1, wrong=2)) == ["1 errors", "2 wrong"]


def test_two_requests_with_one_id_are_the_harness_own_mistake():
    with pytest.raises(ValueError, match="same id"):
        account(["a", "a"], ["a"])


def test_rounds_add_up():
    rounds = [account(IDS, IDS), account(IDS, ["a"])]
    rounds[1]["uncommitted"] = 2
    both = total(rounds)
    assert (both["requests"], both["answered"]) == (6, 4)
    assert faults(both) == ["2 lost", "2 uncommitted"]


def test_no_round_is_an_account_of_zeros():
    assert not any(total([]).values())
