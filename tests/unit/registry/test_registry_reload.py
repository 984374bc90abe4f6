"""The same number with other content, or loaded anew: the old incarnation answers until the new one can."""

from __future__ import annotations

import pytest
from registry_fakes import LIFE, FakeLoader, ManualExecutor, Rig

from pipeline.errors import LoadFailed
from pipeline.registry.policy import Phase, resource_preserving
from pipeline.registry.rules import Fate, OnChange, fate_of
from pipeline.registry.servable import ServableId
from pipeline.registry.source import Aspired


@pytest.fixture
def reloading():
    return Rig(ManualExecutor(), ManualExecutor(), reloading=["m"])


def up(rig, loader, digest, revision=0, path="/m/1"):
    item = Aspired(ServableId("m", 1), loader, None, 1, "fake", path, digest, revision)
    rig.manager.set_aspired("m", [item], {}, 1)


def lives(rig):
    return [(event.incarnation, str(event.state)) for event in rig.events]


def tag(rig):
    with rig.manager.acquire("m", version=1) as handle:
        return handle.servable.tag


def test_changed_content_is_loaded_beside_the_old_and_takes_its_place_without_a_gap(reloading):
    old, new = FakeLoader(tag="old"), FakeLoader(tag="new")
    up(reloading, old, "a")
    reloading.run_until_quiet()
    up(reloading, new, "b")
    assert tag(reloading) == "old"
    assert (old.unloads, new.loads) == (0, 0)
    reloading.load_pool.drain()
    assert tag(reloading) == "new"
    reloading.run_until_quiet()
    assert (old.unloads, new.unloads) == (1, 0)
    assert lives(reloading)[3:] == [
        (2, "START"), (2, "LOADING"), (2, "AVAILABLE"), (1, "UNLOADING"), (1, "END"),
    ]  # fmt: skip


def test_changed_content_that_does_not_load_leaves_the_old_serving(reloading):
    up(reloading, FakeLoader(tag="old"), "a")
    reloading.run_until_quiet()
    up(reloading, FakeLoader(ValueError("bad")), "b")
    reloading.run_until_quiet()
    assert tag(reloading) == "old"
    assert lives(reloading)[3:] == [(2, "START"), (2, "LOADING"), (2, "END")]
    assert reloading.manager.is_settled("m")


def test_going_back_to_the_old_content_costs_nothing(reloading):
    old, bad = FakeLoader(tag="old"), FakeLoader(ValueError("bad"))
    up(reloading, old, "a")
    reloading.run_until_quiet()
    up(reloading, bad, "b")
    reloading.run_until_quiet()
    up(reloading, FakeLoader(), "a")
    reloading.run_until_quiet()
    assert tag(reloading) == "old"
    assert (old.loads, old.unloads) == (1, 0)
    up(reloading, FakeLoader(tag="mended"), "c")
    reloading.run_until_quiet()
    assert tag(reloading) == "mended"


def test_other_versions_that_are_available_do_not_take_the_old_content_away(reloading):
    """Without the rule, the first of two aspired versions would lose its incarnation while the new one loads."""
    first, second = Aspired(ServableId("m", 1), FakeLoader(), digest="a"), Aspired(ServableId("m", 2), FakeLoader())
    reloading.manager.set_aspired("m", [first, second], {}, 1)
    reloading.run_until_quiet()
    changed = Aspired(ServableId("m", 1), FakeLoader(ValueError("bad")), digest="b")
    reloading.manager.set_aspired("m", [changed, second], {}, 2)
    reloading.run_until_quiet()
    assert reloading.manager.snapshot("m").available == (1, 2)


def test_a_handle_on_the_old_content_holds_up_nothing(reloading):
    up(reloading, FakeLoader(tag="old"), "a")
    reloading.run_until_quiet()
    handle = reloading.manager.acquire("m")
    up(reloading, FakeLoader(tag="new"), "b")
    reloading.run_until_quiet()
    assert tag(reloading) == "new"
    assert handle.servable.tag == "old"
    assert handle.servable.is_loaded
    handle.release()
    reloading.run_until_quiet()
    assert lives(reloading)[-1] == (1, "END")


def test_content_that_changes_again_while_it_is_loaded_is_loaded_once_more(reloading):
    up(reloading, FakeLoader(tag="a"), "a")
    reloading.run_until_quiet()
    for content in "bc":
        up(reloading, FakeLoader(tag=content), content)
    reloading.run_until_quiet()
    assert tag(reloading) == "c"
    assert len(reloading.manager.snapshot("m").states) == 1


def test_with_resource_preserving_the_old_content_goes_first():
    rig = Rig(ManualExecutor(), ManualExecutor(), reloading=["m"], policies={"m": resource_preserving})
    old = FakeLoader(tag="old")
    up(rig, old, "a")
    rig.run_until_quiet()
    up(rig, FakeLoader(tag="new"), "b")
    assert not rig.load_pool.jobs
    rig.unload_pool.drain()
    assert old.unloads == 1
    rig.run_until_quiet()
    assert tag(rig) == "new"


def test_a_raised_revision_loads_the_same_content_anew_and_a_repeated_one_does_not(manual):
    up(manual, FakeLoader(tag="first"), "a")
    manual.run_until_quiet()
    for _ in range(2):
        up(manual, FakeLoader(tag="again"), "a", revision=1)
        manual.run_until_quiet()
    assert tag(manual) == "again"
    assert [state for _, state in lives(manual)] == [*LIFE[:3], *LIFE[:3], "UNLOADING", "END"]


def test_a_raised_revision_tries_a_failed_version_again(manual):
    up(manual, FakeLoader(ValueError("bad")), "a")
    manual.run_until_quiet()
    up(manual, FakeLoader(tag="better"), "a", revision=1)
    manual.run_until_quiet()
    assert tag(manual) == "better"


def test_what_is_reported_stands_in_the_notes_until_it_is_over(manual):
    up(manual, FakeLoader(tag="old"), "a")
    manual.run_until_quiet()
    up(manual, FakeLoader(), "b")
    [note] = manual.manager.snapshot("m").notes
    assert "m/1 is aspired with other content (b)" in note
    assert "penstock versions reload m 1" in note
    up(manual, FakeLoader(), "a")
    assert manual.manager.snapshot("m").notes == ()
    assert tag(manual) == "old"


BASE = Aspired(ServableId("m", 1), None, path="/a", digest="x")
MOVED = Aspired(ServableId("m", 1), None, path="/b", digest="x")
CHANGED = Aspired(ServableId("m", 1), None, path="/a", digest="y")
RAISED = Aspired(ServableId("m", 1), None, path="/a", digest="x", revision=1)
BROKEN = Aspired(ServableId("m", 1), None, LoadFailed("m/1", "no"), path="/a", digest="x")


@pytest.mark.parametrize(
    ("phase", "item", "report", "reload"),
    [
        (Phase.READY, BASE, Fate.STAYS, Fate.STAYS),
        (Phase.READY, MOVED, Fate.STAYS, Fate.STAYS),
        (Phase.READY, CHANGED, Fate.STAYS_CHANGED, Fate.IS_REPLACED),
        (Phase.READY, RAISED, Fate.IS_REPLACED, Fate.IS_REPLACED),
        (Phase.READY, BROKEN, Fate.STAYS_BROKEN, Fate.STAYS_BROKEN),
        (Phase.LOADING, BASE, Fate.STAYS, Fate.STAYS),
        (Phase.LOADING, MOVED, Fate.IS_REPLACED, Fate.IS_REPLACED),
        (Phase.LOADING, CHANGED, Fate.IS_REPLACED, Fate.IS_REPLACED),
        (Phase.LOADING, RAISED, Fate.IS_REPLACED, Fate.IS_REPLACED),
        (Phase.LOADING, BROKEN, Fate.STAYS_BROKEN, Fate.STAYS_BROKEN),
        (Phase.FAILED, BASE, Fate.STAYS, Fate.STAYS),
        (Phase.FAILED, MOVED, Fate.IS_REPLACED, Fate.IS_REPLACED),
        (Phase.FAILED, CHANGED, Fate.IS_REPLACED, Fate.IS_REPLACED),
        (Phase.FAILED, RAISED, Fate.IS_REPLACED, Fate.IS_REPLACED),
        (Phase.FAILED, BROKEN, Fate.IS_REPLACED, Fate.IS_REPLACED),
        (Phase.UNLOADING, BASE, Fate.IS_REPLACED, Fate.IS_REPLACED),
        (Phase.UNLOADING, BROKEN, Fate.IS_REPLACED, Fate.IS_REPLACED),
    ],
)
def test_what_an_aspiration_means_for_what_is_there(phase, item, report, reload):
    assert fate_of(phase, BASE, item, OnChange.REPORT) is report
    assert fate_of(phase, BASE, item, OnChange.RELOAD) is reload


def test_the_same_error_again_changes_nothing():
    assert fate_of(Phase.FAILED, BROKEN, BROKEN, OnChange.RELOAD) is Fate.STAYS
