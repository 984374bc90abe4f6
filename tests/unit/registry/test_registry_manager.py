"""What the manager promises, on every shape of pools."""

from __future__ import annotations

import pytest
from registry_fakes import LIFE, FakeLoader

from pipeline.errors import InvalidArtefact, LoadFailed, NotReady, UnknownLabel, UnknownServable, UnknownVersion
from pipeline.registry.servable import ServableId
from pipeline.registry.source import Aspired


def test_a_version_lives_through_all_states_once_and_in_order(rig):
    rig.aspire("m", [1])
    rig.settle("m")
    rig.aspire("m", [])
    rig.settle("m")
    assert rig.states("m", 1) == LIFE
    assert rig.last("m", 1).error is None


def test_an_event_carries_where_its_version_came_from(rig):
    rig.aspire("m", {1: FakeLoader()}, digest="sha256:aa")
    rig.settle("m")
    event = rig.last("m", 1)
    assert (event.generation, event.kind, event.path, event.digest) == (1, "fake", "/models/m/1", "sha256:aa")
    assert (event.load_ms, event.at_ms) == (0, rig.clock.unix_ms())


def test_latest_is_the_highest_version_and_zero_is_a_version(rig):
    rig.aspire("m", [0])
    rig.settle("m")
    assert rig.latest("m") == 0
    rig.aspire("m", [0, 3, 2])
    rig.settle("m")
    assert rig.latest("m") == 3
    assert rig.manager.available() == tuple(ServableId("m", version) for version in (0, 2, 3))


def test_a_handle_has_the_servable_its_id_and_its_digest(rig):
    rig.aspire("m", {1: FakeLoader(tag="one"), 2: FakeLoader(tag="two")}, digest="sha256:aa")
    rig.settle("m")
    with rig.manager.acquire("m", version=1) as handle:
        assert (handle.servable.tag, handle.id, handle.digest) == ("one", ("m", 1), "sha256:aa")


def test_a_released_handle_is_of_no_use_and_may_be_released_again(rig):
    rig.aspire("m", [1])
    rig.settle("m")
    handle = rig.manager.acquire("m")
    handle.release()
    handle.release()
    with pytest.raises(RuntimeError, match="m/1 has been released"):
        _ = handle.servable
    rig.aspire("m", [])
    rig.settle("m")
    assert rig.states("m", 1) == LIFE


def test_only_the_omitted_version_goes(rig):
    loaders = {1: FakeLoader(), 2: FakeLoader(), 3: FakeLoader()}
    rig.aspire("m", loaders)
    rig.settle("m")
    rig.aspire("m", [1, 3])
    rig.settle("m")
    assert rig.manager.snapshot("m").available == (1, 3)
    assert [loader.unloads for loader in loaders.values()] == [0, 1, 0]


def test_repeating_a_set_changes_nothing(rig):
    first, second = FakeLoader(), FakeLoader()
    rig.aspire("m", {1: first})
    rig.settle("m")
    rig.aspire("m", {1: second})
    rig.settle("m")
    assert (first.loads, second.loads) == (1, 0)
    assert rig.states("m", 1) == LIFE[:3]


def test_rolling_back_to_a_lower_number_works(rig):
    rig.aspire("m", [2])
    rig.settle("m")
    rig.aspire("m", [1])
    rig.settle("m")
    assert rig.latest("m") == 1
    with pytest.raises(UnknownVersion):
        rig.manager.acquire("m", version=2)
    assert rig.events.index(next(e for e in rig.events if e.id.version == 1 and e.state == "AVAILABLE")) < [
        (e.id.version, e.state) for e in rig.events
    ].index((2, "UNLOADING"))


def test_a_broken_new_version_leaves_the_old_one_serving_until_a_good_one_comes(rig):
    rig.aspire("m", [1])
    rig.settle("m")
    rig.aspire("m", {2: FakeLoader(InvalidArtefact("m/2", "no model.xml"))})
    rig.settle("m")
    assert rig.latest("m") == 1
    assert rig.states("m", 2) == ["START", "LOADING", "END"]
    assert rig.last("m", 2).error.code == "invalid_artefact"
    assert any("no model.xml" in state for state in rig.manager.snapshot("m").states)
    rig.aspire("m", [3])
    rig.settle("m")
    assert rig.manager.available() == (("m", 3),)
    assert rig.states("m", 1) == LIFE


def test_whatever_a_load_raises_becomes_a_load_failed_that_names_it(rig):
    rig.aspire("m", {1: FakeLoader(ZeroDivisionError("oops")), 2: FakeLoader(SystemExit(3))})
    rig.settle("m")
    assert rig.last("m", 1).error.code == "load_failed"
    assert "ZeroDivisionError: oops" in str(rig.last("m", 1).error)
    assert "SystemExit" in str(rig.last("m", 2).error)


def test_a_loader_that_returns_no_servable_fails_its_version(rig):
    loader = FakeLoader()
    loader.load = lambda: None
    rig.aspire("m", {1: loader})
    rig.settle("m")
    assert "is no servable" in str(rig.last("m", 1).error)


def test_an_unload_that_raises_ends_the_version_with_that_error(rig):
    loader = FakeLoader()

    def unload():
        raise ValueError("stuck")

    loader.unload = unload
    rig.aspire("m", {1: loader})
    rig.settle("m")
    rig.aspire("m", [])
    rig.settle("m")
    assert "stuck" in str(rig.last("m", 1).error)
    assert rig.states("m", 1) == LIFE


def test_an_errored_item_ends_with_its_error_and_is_never_loaded(rig):
    error = LoadFailed("m/1", "no adapter")
    rig.aspire("m", {1: error})
    rig.aspire("m", {1: error})
    rig.settle("m")
    assert rig.states("m", 1) == ["END"]
    assert rig.last("m", 1).error is error


def test_an_errored_item_that_comes_back_good_is_loaded(rig):
    rig.aspire("m", {1: LoadFailed("m/1", "no adapter")})
    rig.aspire("m", [1])
    rig.settle("m")
    assert rig.states("m", 1) == ["END", *LIFE[:3]]


def test_an_errored_item_does_not_take_down_the_version_that_is_available(rig):
    rig.aspire("m", [1])
    rig.settle("m")
    rig.aspire("m", {1: LoadFailed("m/1", "no adapter")})
    rig.settle("m")
    assert rig.latest("m") == 1


def test_a_failed_version_is_tried_again_when_the_same_bytes_lie_elsewhere(rig):
    """And one that is available does not care where its bytes lie now."""
    id_ = ServableId("m", 1)
    for path, loader in (("/gone/1", FakeLoader(ValueError("gone"))), ("/here/1", FakeLoader(tag="here"))):
        rig.manager.set_aspired("m", [Aspired(id_, loader, path=path, digest="a")], {}, 1)
        rig.settle("m")
    assert rig.latest("m") == 1
    rig.manager.set_aspired("m", [Aspired(id_, FakeLoader(tag="moved"), path="/moved/1", digest="a")], {}, 2)
    rig.settle("m")
    with rig.manager.acquire("m") as handle:
        assert handle.servable.tag == "here"


def test_a_failed_version_is_tried_again_only_when_its_digest_changes(rig):
    rig.aspire("m", {1: FakeLoader(ValueError("bad"))}, digest="a")
    rig.settle("m")
    rig.aspire("m", {1: FakeLoader()}, digest="a")
    rig.settle("m")
    assert rig.manager.available() == ()
    rig.aspire("m", {1: FakeLoader()}, digest="b")
    rig.settle("m")
    assert rig.latest("m") == 1
    assert rig.states("m", 1) == ["START", "LOADING", "END", *LIFE[:3]]
    assert rig.last("m", 1).digest == "b"


def test_a_failed_version_that_was_omitted_meanwhile_is_tried_again(rig):
    rig.aspire("m", {1: FakeLoader(ValueError("bad"))})
    rig.settle("m")
    rig.aspire("m", [])
    rig.aspire("m", [1])
    rig.settle("m")
    assert rig.latest("m") == 1


def test_an_available_version_with_a_new_digest_is_kept_and_a_warning_says_so(rig, caplog):
    rig.aspire("m", {1: FakeLoader(tag="old")}, digest="a")
    rig.settle("m")
    rig.aspire("m", {1: FakeLoader(tag="new")}, digest="b")
    rig.settle("m")
    with rig.manager.acquire("m") as handle:
        assert (handle.servable.tag, handle.digest) == ("old", "a")
    assert any(
        r.levelname == "WARNING" and "m/1 is aspired with other content (b)" in r.message for r in caplog.records
    )


def test_unknown_names_versions_and_labels_say_what_is_known(rig):
    rig.aspire("m", [1, 2], labels={"stable": 1})
    rig.aspire("other", [])
    rig.settle("m", "other")
    with pytest.raises(UnknownServable) as servable:
        rig.manager.acquire("x")
    assert servable.value.known == ("m", "other")
    with pytest.raises(UnknownVersion) as version:
        rig.manager.acquire("m", version=9)
    assert version.value.available == (1, 2)
    with pytest.raises(UnknownLabel) as label:
        rig.manager.acquire("m", label="canary")
    assert label.value.known == ("stable",)
    with pytest.raises(NotReady):
        rig.manager.acquire("other")


def test_a_label_answers_with_its_version_and_a_version_outranks_it(rig):
    rig.aspire("m", [1, 2], labels={"stable": 1})
    rig.settle("m")
    with rig.manager.acquire("m", label="stable") as handle:
        assert handle.id.version == 1
    with rig.manager.acquire("m", version=2, label="stable") as handle:
        assert handle.id.version == 2


def test_a_forgotten_stream_is_unloaded_and_unknown(rig):
    rig.aspire("m", [1])
    rig.settle("m")
    rig.manager.forget("m", 7)
    rig.manager.forget("never-known", 8)
    assert rig.manager.close(5) == ()
    assert rig.states("m", 1) == LIFE
    assert rig.last("m", 1).generation == 7
    assert rig.manager.streams() == ()


def test_a_forgotten_stream_may_be_aspired_again(rig):
    rig.aspire("m", [1])
    rig.settle("m")
    rig.manager.forget("m", 7)
    with pytest.raises(UnknownServable):
        rig.manager.acquire("m")
    rig.aspire("m", [1])
    rig.settle("m")
    assert rig.latest("m") == 1
    assert rig.manager.streams() == ("m",)


def test_items_of_another_stream_are_refused_as_a_whole(rig):
    stranger = Aspired(ServableId("other", 1), FakeLoader())
    with pytest.raises(ValueError, match="other/1"):
        rig.manager.set_aspired("m", [stranger], {}, 1)
    assert rig.manager.streams() == ()


def test_a_version_named_twice_in_one_set_is_loaded_once(rig):
    first, second = FakeLoader(), FakeLoader()
    items = [Aspired(ServableId("m", 1), first), Aspired(ServableId("m", 1), second)]
    rig.manager.set_aspired("m", items, {}, 1)
    rig.settle("m")
    assert (first.loads, second.loads) == (1, 0)


def test_closing_ends_every_version_and_refuses_handles_and_aspirations(rig):
    rig.aspire("m", [1, 2])
    rig.aspire("n", [1])
    rig.settle("m", "n")
    assert rig.manager.close(5) == ()
    assert rig.manager.close(5) == ()
    assert rig.states("m", 1) == rig.states("m", 2) == rig.states("n", 1) == LIFE
    with pytest.raises(NotReady, match="closing"):
        rig.manager.acquire("m")
    rig.aspire("m", [3])
    assert rig.states("m", 3) == []


def test_hundreds_of_streams_settle(rig):
    names = [f"s{number}" for number in range(300)]
    for name in names:
        rig.aspire(name, [1])
    rig.settle(*names)
    assert len(rig.manager.available()) == 300


def test_waiting_for_a_stream_that_was_never_aspired_times_out_and_names_it(rig):
    assert rig.manager.wait_settled(["x"], 0.01) == {"x": ()}
    assert not rig.manager.is_settled("x")
