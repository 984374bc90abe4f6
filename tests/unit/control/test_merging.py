"""What a source publishes, given what stands."""

from __future__ import annotations

from hypothesis import given, strategies as st
from msgspec.structs import replace

from pipeline.control.merging import Halt, content_of, is_equal, is_same_content, merge
from pipeline.records import AspiredVersion, AspiredVersions


def version(number: int, digest: str = "a", revision: int = 0) -> AspiredVersion:
    return AspiredVersion(number, f"/m/{number}", f"sha256:{number}{digest}", revision)


def record(*versions: AspiredVersion | int, pinned: bool = False, **labels: int) -> AspiredVersions:
    chosen = tuple(version(it) if isinstance(it, int) else it for it in versions)
    return AspiredVersions("m", chosen, labels=labels, pinned=pinned, publisher="x")


def numbers(merged: AspiredVersions | None) -> list[int] | None:
    return None if merged is None else [it.version for it in merged.versions]


def test_the_first_record_of_a_stream_is_what_was_found() -> None:
    found = record(1, 2)
    assert merge(None, found) == replace(found, found=True)
    assert numbers(merge(None, record())) == []


def test_nothing_is_published_over_a_pin() -> None:
    assert merge(record(1, pinned=True), record(2)) is None


def test_what_stands_already_is_not_published_again_whoever_published_it() -> None:
    assert merge(record(1, 2, stable=1), replace(record(2), publisher="y", published_at_ms=9)) is None


def test_labels_and_their_versions_stay_as_they_are() -> None:
    old = version(1, "standing", revision=3)
    merged = merge(record(old, 2, stable=1), record(3))
    assert merged is not None
    assert merged.versions == (old, version(3))
    assert merged.labels == {"stable": 1}


def test_a_label_that_the_source_sets_itself_moves_with_it_and_takes_no_other_along() -> None:
    merged = merge(record(1, 2, stable=1, canary=2), record(3, stable=3))
    assert merged is not None
    assert merged.labels == {"stable": 3, "canary": 2}
    assert numbers(merged) == [2, 3]


def test_a_revision_survives_a_new_find() -> None:
    merged = merge(record(version(1, revision=2)), record(1, 2))
    assert merged is not None
    assert [it.revision for it in merged.versions] == [2, 0]


def test_new_content_of_a_version_is_published() -> None:
    merged = merge(record(version(1, "a")), record(version(1, "b")))
    assert merged is not None
    assert merged.versions == (version(1, "b"),)


def test_the_same_bytes_elsewhere_differ_and_are_the_same_content() -> None:
    here = record(1)
    there = replace(here, versions=(replace(here.versions[0], path="/elsewhere/1"),))
    assert not is_equal(here, there)
    assert is_same_content(here, there)
    assert merge(here, there) is not None


HALT = Halt(frozenset({content_of(version(2))}), (version(1),), (version(0), version(1)))


def test_what_served_before_takes_the_place_of_what_is_vetoed() -> None:
    halted = merge(record(2), record(2), HALT)
    assert numbers(halted) == [1]
    assert merge(halted, record(2), HALT) is None


def test_the_label_of_what_is_vetoed_goes_along() -> None:
    halted = merge(record(2, stable=2, other=7), record(2), HALT)
    assert halted is not None
    assert halted.labels == {"stable": 1, "other": 7}


def test_a_veto_leaves_the_other_versions_alone() -> None:
    assert numbers(merge(record(2, 3), record(2, 3), HALT)) == [1, 3]
    assert numbers(merge(record(2), record(3), HALT)) == [3]


def test_new_content_is_not_vetoed_with_the_old() -> None:
    assert numbers(merge(record(1), record(version(2, "repaired")), HALT)) == [2]


def test_something_stays_where_nothing_could_stand_in() -> None:
    alone = Halt(HALT.vetoed)
    assert merge(record(2), record(2), alone) is None
    assert numbers(merge(None, record(2), alone)) == [2]


VERSION = st.builds(version, st.integers(0, 5), st.sampled_from("ab"), st.integers(0, 2))
VERSIONS = st.lists(VERSION, max_size=4, unique_by=lambda it: it.version).map(tuple)
RECORD = st.builds(
    AspiredVersions,
    stream=st.just("m"),
    versions=VERSIONS,
    labels=st.dictionaries(st.sampled_from(["stable", "canary"]), st.integers(0, 5)),
    pinned=st.booleans(),
)
FOUND = st.builds(AspiredVersions, stream=st.just("m"), versions=VERSIONS)
HALTS = st.builds(Halt, st.frozensets(VERSION.map(content_of), max_size=3), VERSIONS, VERSIONS)


@given(st.none() | RECORD, FOUND, HALTS)
def test_merging_twice_is_merging_once(standing: AspiredVersions | None, found: AspiredVersions, halt: Halt) -> None:
    merged = merge(standing, found, halt)
    if merged is not None:
        assert merge(merged, found, halt) is None


@given(RECORD, FOUND, HALTS)
def test_no_pin_and_no_label_is_ever_dropped(standing: AspiredVersions, found: AspiredVersions, halt: Halt) -> None:
    merged = merge(standing, found, halt)
    assert merged is None or (not standing.pinned and merged.labels.keys() >= standing.labels.keys())


@given(RECORD, FOUND)
def test_what_was_found_and_what_is_labelled_is_aspired(standing: AspiredVersions, found: AspiredVersions) -> None:
    after = merge(standing, found) or standing
    if not after.pinned:
        labelled = {it.version for it in standing.versions} & set(standing.labels.values())
        assert {it.version for it in after.versions} == {it.version for it in found.versions} | labelled


@given(st.none() | RECORD, FOUND, HALTS)
def test_a_veto_holds_unless_nothing_would_be_left(
    standing: AspiredVersions | None, found: AspiredVersions, halt: Halt
) -> None:
    merged = merge(standing, found, halt)
    if merged is not None and {content_of(it) for it in merged.versions} & halt.vetoed:
        assert is_equal(merged, merge(standing, found) or merged)
