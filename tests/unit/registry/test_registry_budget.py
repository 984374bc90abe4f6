"""Loads and the memory that they may take together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, strategies as st
from registry_fakes import DEADLINE_S, FakeLoader, ManualExecutor, Rig

from pipeline.registry.budget import Budget, Verdict, WhenShort, fitting
from pipeline.registry.policy import resource_preserving
from pipeline.testing.fakes import InlineExecutor


class Sized(FakeLoader):
    def __init__(self, size, *errors, after=None, **more):
        super().__init__(*errors, **more)
        self.size, self.after = size, after

    def estimate_bytes(self):
        if isinstance(self.size, list):
            size = self.size.pop(0)
            if isinstance(size, Exception):
                raise size
            return size
        return self.after if self.servable is not None and self.after is not None else self.size


def rig_with(limit, when_short=WhenShort.WAIT, **more):
    return Rig(ManualExecutor(), ManualExecutor(), budget=Budget(limit, when_short), **more)


def test_two_halves_load_at_the_same_time():
    rig = rig_with(10)
    rig.aspire("a", {1: Sized(5)})
    rig.aspire("b", {1: Sized(5)})
    rig.run_until_quiet()
    assert rig.manager.available() == (("a", 1), ("b", 1))


def test_what_does_not_fit_waits_for_what_leaves_and_says_so_meanwhile():
    rig = rig_with(10)
    rig.aspire("a", {1: Sized(8)})
    rig.run_until_quiet()
    rig.aspire("b", {1: Sized(5)})
    rig.run_until_quiet()
    assert rig.states("b", 1) == ["START"]
    assert rig.manager.snapshot("b").notes == ("b/1 waits for memory: it needs 5 bytes",)
    assert rig.manager.is_settled("b")
    rig.aspire("a", [])
    rig.run_until_quiet()
    assert rig.latest("b") == 1
    assert rig.manager.snapshot("b").notes == ()
    assert rig.last("b", 1).estimate_bytes == 5


def test_a_load_that_waits_holds_up_none_that_fits():
    rig = rig_with(10)
    rig.aspire("a", {1: Sized(8)})
    rig.aspire("large", {1: Sized(9)})
    rig.aspire("small", {1: Sized(2)})
    rig.run_until_quiet()
    assert rig.manager.available() == (("a", 1), ("small", 1))


def test_where_refusing_is_the_rule_the_version_ends_with_the_figures():
    rig = rig_with(10, WhenShort.REFUSE)
    rig.aspire("a", {1: Sized(8)})
    rig.aspire("b", {1: Sized(5)})
    rig.run_until_quiet()
    error = rig.last("b", 1).error
    assert error.code == "insufficient_memory"
    assert (error.needed_bytes, error.reserved_bytes, error.limit_bytes) == (5, 8, 10)
    assert rig.states("b", 1) == ["START", "END"]


def test_what_can_never_fit_is_refused_at_once():
    rig = rig_with(10)
    rig.aspire("a", {1: Sized(11)})
    rig.run_until_quiet()
    assert rig.last("a", 1).error.code == "insufficient_memory"


def test_a_failed_load_gives_its_memory_back():
    rig = rig_with(10)
    rig.aspire("a", {1: Sized(8, ValueError("bad"))})
    rig.aspire("b", {1: Sized(8)})
    rig.run_until_quiet()
    assert rig.manager.available() == (("b", 1),)


def test_an_estimate_that_is_lower_after_the_load_makes_room():
    rig = rig_with(10)
    rig.aspire("a", {1: Sized(8, after=3)})
    rig.aspire("b", {1: Sized(7)})
    rig.run_until_quiet()
    assert rig.manager.available() == (("a", 1), ("b", 1))
    assert rig.last("a", 1).estimate_bytes == 3


def test_memory_is_given_back_when_the_unload_has_ended_and_not_before():
    rig = rig_with(10)
    rig.aspire("a", {1: Sized(8)})
    rig.run_until_quiet()
    handle = rig.manager.acquire("a")
    rig.aspire("a", [])
    rig.aspire("b", {1: Sized(8)})
    rig.run_until_quiet()
    assert rig.states("b", 1) == ["START"]
    handle.release()
    rig.run_until_quiet()
    assert rig.latest("b") == 1


def test_an_unaspired_load_leaves_the_queue():
    rig = rig_with(10)
    rig.aspire("a", {1: Sized(8)})
    late = Sized(8)
    rig.aspire("b", {1: late})
    rig.run_until_quiet()
    rig.aspire("b", [])
    assert rig.last("b", 1).error.code == "load_cancelled"
    rig.aspire("a", [])
    rig.run_until_quiet()
    assert late.loads == 0
    assert rig.manager.close(0) == ()


def test_resource_preserving_swaps_within_the_memory_of_one():
    rig = rig_with(10, policies={"m": resource_preserving})
    for version in range(5):
        rig.aspire("m", {version: Sized(10)})
        rig.run_until_quiet()
        assert rig.latest("m") == version


def test_an_estimate_that_fails_for_a_reason_that_may_pass_is_asked_for_again():
    rig = rig_with(10)
    rig.aspire("a", {1: Sized([OSError("busy"), 5, 5])})
    rig.run_until_quiet()
    rig.timer.fire()
    rig.run_until_quiet()
    assert rig.latest("a") == 1


def test_an_estimate_that_fails_for_good_ends_the_version_without_a_load():
    rig = rig_with(10)
    loader = Sized([ValueError("no idea")])
    rig.aspire("a", {1: loader})
    rig.run_until_quiet()
    assert rig.states("a", 1) == ["START", "END"]
    assert "no idea" in str(rig.last("a", 1).error)
    assert loader.loads == 0


def test_an_estimate_that_keeps_failing_ends_the_version_with_its_last_error():
    rig = rig_with(10)
    loader = Sized([OSError("one"), OSError("two"), OSError("three")])
    rig.aspire("a", {1: loader})
    for _ in range(2):
        rig.run_until_quiet()
        rig.timer.fire()
    rig.run_until_quiet()
    assert rig.states("a", 1) == ["START", "END"]
    assert "three" in str(rig.last("a", 1).error)
    assert loader.loads == 0


def test_without_a_limit_and_without_an_estimate_everything_is_admitted():
    rig = rig_with(0)
    rig.aspire("a", {1: Sized(10**15)})
    rig.aspire("b", {1: Sized(None)})
    rig.run_until_quiet()
    assert rig.manager.available() == (("a", 1), ("b", 1))


def test_an_estimate_that_grows_after_the_load_is_a_warning(caplog):
    rig = rig_with(10)
    rig.aspire("a", {1: Sized(3, after=4)})
    rig.run_until_quiet()
    assert rig.latest("a") == 1
    assert "needs 4 bytes" in caplog.text


def test_whoever_comes_back_while_the_deferral_is_still_being_told_is_loaded_once():
    """Admission may overtake the news of the deferral; it must neither be lost nor load twice."""
    budget = Budget(10)
    assert budget.reserve("a", 8, lambda: None) is Verdict.ADMITTED
    called = []
    assert budget.reserve("b", 8, lambda: called.append("b")) is Verdict.DEFERRED
    budget.release("a")
    assert called == ["b"]
    assert budget.reserve("b", 8, lambda: called.append("again")) is Verdict.ADMITTED
    budget.release("b")
    assert called == ["b"]
    assert budget.reserved_bytes == 0


@pytest.mark.parametrize("overtakes", [False, True])
def test_an_admission_and_a_deferral_in_either_order_lead_to_one_load(manual, overtakes):
    loader = FakeLoader()
    manual.aspire("m", {1: loader})
    manual.load_pool.jobs.clear()
    stream = manual.manager._streams["m"]
    [harness] = stream._harnesses.values()
    steps = [stream.load_deferred, stream.load_admitted]
    for step in reversed(steps) if overtakes else steps:
        step(harness)
    assert len(manual.load_pool.jobs) == 1
    manual.run_until_quiet()
    assert (loader.loads, manual.latest("m")) == (1, 1)


@given(st.integers(0, 100), st.integers(0, 100), st.dictionaries(st.integers(0, 9), st.integers(0, 100), max_size=8))
def test_what_is_admitted_fits_and_what_is_left_does_not(limit, reserved, waiting):
    admitted = fitting(limit, reserved, waiting)
    total = reserved + sum(waiting[who] for who in admitted)
    assert not admitted or total <= limit
    assert all(total + needed > limit for who, needed in waiting.items() if who not in admitted)


def test_closing_ends_hundreds_that_wait_for_memory(caplog):
    """The first that leaves makes room for the next, on its way out too, and so on: not one inside the other."""
    with ThreadPoolExecutor(2) as pool:
        rig = Rig(pool, InlineExecutor(), budget=Budget(10))
        rig.aspire("first", {1: Sized(10)})
        rig.settle("first")
        names = [f"s{number}" for number in range(300)]
        for name in names:
            rig.aspire(name, {1: Sized(10)})
        rig.settle(*names)
        assert rig.manager.close(DEADLINE_S) == ()
    assert [rig.states(name, 1) for name in names] == [["START", "END"]] * 300
    assert "step" not in caplog.text
