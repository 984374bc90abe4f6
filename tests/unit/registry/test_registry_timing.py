"""What happens when things come at awkward moments; the pools run only when told to."""

from __future__ import annotations

import pytest
from registry_fakes import LIFE, FakeLoader, ManualExecutor, Rig

from pipeline.errors import ConnectorError, NotReady, UnknownServable, UnknownVersion
from pipeline.registry.policy import resource_preserving


def up(manual, stream, versions, **more):
    manual.aspire(stream, versions, **more)
    manual.run_until_quiet()
    assert manual.manager.is_settled(stream)


def test_aspiring_alone_makes_nothing_available(manual):
    manual.aspire("m", [1])
    assert manual.states("m", 1) == ["START"]
    assert not manual.manager.is_settled("m")
    with pytest.raises(NotReady, match="1: START"):
        manual.manager.acquire("m")


def test_a_version_on_its_way_is_not_ready_and_one_nobody_aspired_is_unknown(manual):
    manual.aspire("m", [1, 2])
    with pytest.raises(NotReady):
        manual.manager.acquire("m", version=2)
    with pytest.raises(UnknownVersion):
        manual.manager.acquire("m", version=3)
    manual.load_pool.step()
    with pytest.raises(NotReady):
        manual.manager.acquire("m", version=1)
    assert manual.latest("m") == 2


def test_a_version_that_failed_is_unknown_while_others_serve(manual):
    up(manual, "m", {1: FakeLoader(), 2: FakeLoader(ValueError("bad"))})
    with pytest.raises(UnknownVersion):
        manual.manager.acquire("m", version=2)


def test_a_stream_whose_only_version_failed_is_not_ready_and_says_why(manual):
    up(manual, "m", {1: FakeLoader(ValueError("bad weights"))})
    with pytest.raises(NotReady, match="bad weights"):
        manual.manager.acquire("m")


def test_an_unaspired_version_whose_load_had_not_begun_ends_cancelled_without_a_load(manual):
    loader = FakeLoader()
    manual.aspire("m", {1: loader})
    manual.aspire("m", [])
    assert manual.states("m", 1) == ["START", "END"]
    assert manual.last("m", 1).error.code == "load_cancelled"
    manual.run_until_quiet()
    assert (loader.loads, loader.unloads) == (0, 0)
    assert manual.states("m", 1) == ["START", "END"]


def test_reaspiring_a_version_that_was_cancelled_starts_a_new_incarnation(manual):
    manual.aspire("m", [1])
    manual.aspire("m", [])
    up(manual, "m", [1])
    assert manual.states("m", 1) == ["START", "END", *LIFE[:3]]


def test_a_handle_keeps_its_version_and_the_caller_never_unloads(manual):
    loader = FakeLoader()
    up(manual, "m", {1: loader})
    handle = manual.manager.acquire("m")
    other = manual.manager.acquire("m")
    manual.aspire("m", [])
    assert manual.states("m", 1) == LIFE[:4]
    assert not manual.unload_pool.jobs
    assert not manual.manager.is_settled("m")
    other.release()
    assert handle.servable.is_loaded
    handle.release()
    assert loader.unloads == 0
    manual.unload_pool.step()
    assert loader.unloads == 1
    assert manual.states("m", 1) == LIFE


def test_a_handle_on_one_version_holds_up_neither_its_stream_nor_another(manual):
    up(manual, "m", [1])
    with manual.manager.acquire("m") as handle:
        manual.aspire("m", [2])
        up(manual, "n", [1])
        manual.run_until_quiet()
        assert manual.latest("m") == 2
        up(manual, "n", [2])
        assert manual.states("n", 1) == LIFE
        assert handle.servable.is_loaded
    manual.run_until_quiet()
    assert manual.manager.available() == (("m", 2), ("n", 2))


def test_a_new_incarnation_starts_after_the_old_one_has_ended(manual):
    up(manual, "m", {1: FakeLoader(tag="old")})
    handle = manual.manager.acquire("m")
    manual.aspire("m", [])
    manual.aspire("m", {1: FakeLoader(tag="new")})
    assert manual.states("m", 1) == LIFE[:4]
    assert not manual.load_pool.jobs
    with pytest.raises(NotReady):
        manual.manager.acquire("m", version=1)
    handle.release()
    manual.run_until_quiet()
    assert manual.states("m", 1) == [*LIFE, *LIFE[:3]]
    with manual.manager.acquire("m") as handle:
        assert handle.servable.tag == "new"


def test_a_version_that_waits_for_its_old_incarnation_keeps_the_other_one_serving(manual):
    up(manual, "m", [1])
    handle = manual.manager.acquire("m")
    manual.aspire("m", [2])
    manual.run_until_quiet()
    manual.aspire("m", [1])
    manual.run_until_quiet()
    assert manual.latest("m") == 2
    handle.release()
    manual.run_until_quiet()
    assert manual.latest("m") == 1
    assert manual.manager.available() == (("m", 1),)


def test_reaspiring_a_version_that_still_serves_costs_nothing(manual):
    loader = FakeLoader()
    up(manual, "m", {1: loader})
    manual.aspire("m", [2])
    manual.aspire("m", [1])
    manual.run_until_quiet()
    assert (loader.loads, loader.unloads) == (1, 0)
    assert manual.states("m", 1) == LIFE[:3]
    assert manual.states("m", 2) == ["START", "END"]


def test_available_is_published_after_handles_can_be_taken_and_unloading_before_they_are_refused(manual):
    seen = []

    def look(event):
        try:
            with manual.manager.acquire("m", version=1):
                seen.append((str(event.state), True))
        except (NotReady, UnknownVersion):
            seen.append((str(event.state), False))

    manual.bus.subscribe(look)
    up(manual, "m", [1])
    manual.aspire("m", [])
    manual.run_until_quiet()
    expected = [("START", False), ("LOADING", False), ("AVAILABLE", True), ("UNLOADING", True), ("END", False)]
    assert seen == expected


def test_a_subscriber_may_aspire_from_inside(manual):
    def follow(event):
        if event.id == ("m", 1) and event.state == "AVAILABLE":
            manual.aspire("m", [2])
            manual.aspire("n", [1])

    manual.bus.subscribe(follow)
    manual.aspire("m", [1])
    manual.run_until_quiet()
    assert manual.manager.available() == (("m", 2), ("n", 1))


def test_a_subscriber_that_raises_hurts_nobody(manual, caplog):
    later = []

    def bad(event):
        raise ZeroDivisionError

    manual.bus.subscribe(bad)
    manual.bus.subscribe(later.append)
    up(manual, "m", [1])
    assert [str(event.state) for event in later] == LIFE[:3]
    assert "a subscriber failed" in caplog.text


def test_an_unsubscribed_subscriber_hears_nothing(manual):
    heard = []
    unsubscribe = manual.bus.subscribe(heard.append)
    unsubscribe()
    unsubscribe()
    up(manual, "m", [1])
    assert heard == []


def test_retriable_errors_and_os_errors_are_tried_again_with_growing_waits(manual):
    loader = FakeLoader(OSError("busy"), ConnectorError("store", "away"))
    manual.aspire("m", {1: loader})
    manual.run_until_quiet()
    assert manual.timer.fire() == 1.0
    assert not manual.manager.is_settled("m")
    with pytest.raises(NotReady):
        manual.manager.acquire("m", version=1)
    manual.run_until_quiet()
    assert manual.timer.fire() == 2.0
    manual.run_until_quiet()
    assert manual.latest("m") == 1
    assert loader.loads == 3
    assert manual.states("m", 1) == LIFE[:3]


def test_after_the_last_try_the_version_ends_with_the_last_error(manual):
    manual.aspire("m", {1: FakeLoader(OSError("one"), OSError("two"), OSError("three"))})
    for _ in range(2):
        manual.run_until_quiet()
        manual.timer.fire()
    manual.run_until_quiet()
    assert "three" in str(manual.last("m", 1).error)
    assert manual.states("m", 1) == ["START", "LOADING", "END"]


def test_a_version_that_failed_for_a_reason_that_may_pass_gets_a_new_life_later(manual):
    loader = FakeLoader(*[OSError("away")] * 4)
    manual.aspire("m", {1: loader})
    for _ in range(2):
        manual.run_until_quiet()
        manual.timer.fire()
    manual.run_until_quiet()
    assert manual.states("m", 1) == ["START", "LOADING", "END"]
    assert manual.manager.is_settled("m")
    assert manual.timer.fire() == 60.0
    manual.run_until_quiet()
    assert manual.states("m", 1) == ["START", "LOADING", "END", "START", "LOADING"]
    manual.timer.fire()
    manual.run_until_quiet()
    assert manual.latest("m") == 1
    assert loader.loads == 5


def test_a_failed_version_that_is_no_longer_aspired_is_not_tried_again(manual):
    manual.aspire("m", {1: FakeLoader(*[OSError("away")] * 3)})
    for _ in range(2):
        manual.run_until_quiet()
        manual.timer.fire()
    manual.run_until_quiet()
    manual.aspire("m", [])
    assert manual.timer.due == []


def test_other_errors_are_not_tried_again(manual):
    up(manual, "m", {1: FakeLoader(ValueError("bad"))})
    assert manual.timer.due == []


def test_unaspiring_cancels_the_wait_for_the_next_try(manual):
    loader = FakeLoader(OSError("busy"))
    manual.aspire("m", {1: loader})
    manual.run_until_quiet()
    manual.aspire("m", [])
    assert manual.timer.due == []
    assert manual.last("m", 1).error.code == "load_cancelled"
    assert manual.manager.is_settled("m")
    assert loader.loads == 1


def test_closing_does_not_wait_for_the_next_try(manual):
    manual.aspire("m", {1: FakeLoader(OSError("busy"))})
    manual.run_until_quiet()
    assert manual.manager.close(0) == ()
    assert manual.states("m", 1) == ["START", "LOADING", "END"]
    assert manual.timer.is_stopped


def test_new_content_for_a_version_whose_load_has_not_ended_replaces_it(manual):
    old, new = FakeLoader(), FakeLoader(tag="new")
    manual.aspire("m", {1: old}, digest="a")
    manual.aspire("m", {1: new}, digest="b")
    manual.run_until_quiet()
    with manual.manager.acquire("m") as handle:
        assert (handle.servable.tag, handle.digest) == ("new", "b")
    assert old.loads == 0
    assert manual.states("m", 1) == ["START", "END", *LIFE[:3]]


def test_of_several_old_versions_all_but_the_highest_go_before_the_new_one_is_up(manual):
    up(manual, "m", [1, 2])
    manual.aspire("m", [3])
    manual.unload_pool.drain()
    assert manual.manager.available() == (("m", 2),)
    manual.run_until_quiet()
    assert manual.manager.available() == (("m", 3),)


def test_a_label_moves_when_its_new_version_is_up_and_its_old_one_stays_till_then(manual):
    up(manual, "m", [1, 2], labels={"stable": 1, "canary": 2})
    manual.aspire("m", [2, 3, 4], labels={"stable": 3, "canary": 4})
    for label, version in (("stable", 1), ("canary", 2)):
        with manual.manager.acquire("m", label=label) as handle:
            assert handle.id.version == version
    manual.load_pool.step()
    with manual.manager.acquire("m", label="canary") as handle:
        assert handle.id.version == 4
    with manual.manager.acquire("m", label="stable") as handle:
        assert handle.id.version == 1
    manual.run_until_quiet()
    with manual.manager.acquire("m", label="stable") as handle:
        assert handle.id.version == 3
    assert manual.manager.snapshot("m").available == (2, 3, 4)


def test_a_label_whose_new_version_fails_stays_where_it_answered(manual):
    up(manual, "m", [1], labels={"stable": 1})
    manual.aspire("m", {1: FakeLoader(), 2: FakeLoader(ValueError("bad"))}, labels={"stable": 2})
    with manual.manager.acquire("m", label="stable") as handle:
        assert handle.id.version == 1
    manual.run_until_quiet()
    assert manual.manager.is_settled("m")
    with manual.manager.acquire("m", label="stable") as handle:
        assert handle.id.version == 1


def test_resource_preserving_never_has_old_and_new_at_once():
    rig = Rig(ManualExecutor(), ManualExecutor(), policies={"m": resource_preserving})
    up(rig, "m", [1])
    rig.aspire("m", [2])
    assert rig.states("m", 2) == ["START"]
    assert not rig.load_pool.jobs
    rig.unload_pool.step()
    assert rig.states("m", 1) == LIFE
    rig.load_pool.step()
    assert rig.latest("m") == 2


def test_closing_under_held_handles_gives_up_after_its_timeout_and_names_them(manual):
    loader = FakeLoader()
    up(manual, "m", {1: loader})
    handle = manual.manager.acquire("m")
    assert manual.manager.close(0.01) == ("m/1: UNLOADING",)
    assert manual.states("m", 1) == LIFE
    assert manual.last("m", 1).error.code == "load_cancelled"
    assert handle.servable.is_loaded
    handle.release()
    manual.run_until_quiet()
    assert loader.unloads == 1
    assert manual.states("m", 1) == LIFE


def test_a_forgotten_stream_is_unknown_while_its_last_handle_is_still_held(manual):
    up(manual, "m", [1])
    handle = manual.manager.acquire("m")
    manual.manager.forget("m", 9)
    with pytest.raises(UnknownServable):
        manual.manager.acquire("m")
    assert manual.manager.streams() == ()
    assert manual.manager.snapshot("m") is None
    handle.release()
    manual.run_until_quiet()
    assert manual.states("m", 1) == LIFE


def test_a_policy_that_asks_for_nonsense_is_logged_and_hurts_only_its_stream(caplog):
    rig = Rig(ManualExecutor(), ManualExecutor(), policies={"bad": lambda _: 1 / 0})
    rig.aspire("bad", [1])
    up(rig, "m", [1])
    assert "a step of servable stream bad failed" in caplog.text
    assert rig.latest("m") == 1
