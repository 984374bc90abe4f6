"""What commands make of the record that stands."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st
from msgspec.structs import replace

from pipeline.control import edits
from pipeline.control.merging import merge
from pipeline.errors import InvalidSettings
from pipeline.records import AspiredVersion, AspiredVersions


def version(number: int, revision: int = 0) -> AspiredVersion:
    return AspiredVersion(number, f"/m/{number}", f"sha256:{number}", revision)


def standing(*numbers: int, pinned: bool = False, **labels: int) -> AspiredVersions:
    return AspiredVersions("m", tuple(version(n) for n in numbers), "lookup", labels, pinned, "x", 9)


def numbers(edit: edits.Edit) -> list[int]:
    return [it.version for it in edit.record.versions]


def test_promoting_moves_the_label_and_aspires_in_one_record() -> None:
    edit = edits.promote(standing(1, stable=1), version(2), "stable")
    assert (numbers(edit), edit.record.labels, edit.record.pinned) == ([1, 2], {"stable": 2}, False)
    assert (edit.record.kind, edit.record.publisher, edit.record.published_at_ms) == ("lookup", "", 0)
    assert edits.promote(standing(3, pinned=True), version(2), "new").record.pinned


def test_pinning_names_exactly_these_and_says_which_label_has_no_version() -> None:
    edit = edits.pin(standing(1, 2, stable=1), [version(3), version(2), version(3)])
    assert (numbers(edit), edit.record.pinned, edit.unanswered_labels()) == ([2, 3], True, ["stable"])


def test_unpinning_changes_nothing_else() -> None:
    assert edits.unpin(standing(1, pinned=True, stable=1)).record == replace(
        standing(1, stable=1), publisher="", published_at_ms=0
    )


def test_unpinning_brings_labelled_versions_back_that_sources_would_not_find() -> None:
    edit = edits.unpin(standing(1, pinned=True, stable=2), [version(2)])
    assert (numbers(edit), edit.unanswered_labels()) == ([1, 2], [])


def test_rolling_back_takes_the_labels_along_and_keeps_what_is_lower() -> None:
    edit = edits.rollback(standing(1, 4, old=1, stable=4), version(2))
    assert (numbers(edit), edit.record.labels, edit.record.pinned) == ([1, 2], {"old": 1, "stable": 2}, True)


def test_unloading_pins_what_is_left() -> None:
    assert numbers(edits.unload(standing(1, 2), 2)) == [1]
    edit = edits.unload(standing(1, 2), None)
    assert (numbers(edit), edit.record.pinned) == ([], True)
    with pytest.raises(InvalidSettings, match="it is not aspired; of stream m are: 1, 2"):
        edits.unload(standing(1, 2), 3)


def test_reloading_raises_the_revision() -> None:
    assert [it.revision for it in edits.reload(standing(1, 2), 2).record.versions] == [0, 1]
    assert [it.revision for it in edits.reload(standing(1, 2), None).record.versions] == [1, 1]


def test_a_label_that_is_not_there_can_not_be_taken_away() -> None:
    assert edits.unlabel(standing(1, stable=1, canary=1), "canary").record.labels == {"stable": 1}
    with pytest.raises(InvalidSettings, match="it has stable"):
        edits.unlabel(standing(1, stable=1), "canary")


STANDING = st.builds(
    AspiredVersions,
    stream=st.just("m"),
    versions=st.lists(st.builds(version, st.integers(0, 5)), max_size=4, unique_by=lambda it: it.version).map(tuple),
    labels=st.dictionaries(st.sampled_from(["stable", "canary"]), st.integers(0, 5)),
)
FOUND = STANDING.map(lambda record: replace(record, labels={}))


@given(STANDING, FOUND, st.integers(0, 5))
def test_what_a_source_makes_of_an_edit_keeps_it(record: AspiredVersions, found: AspiredVersions, number: int) -> None:
    for edit in (
        edits.promote(record, version(number), "stable"),
        edits.pin(record, [version(number)]),
        edits.unpin(record),
        edits.rollback(record, version(number)),
        edits.unload(record, None),
    ):
        assert edit.is_kept_by(edit.record)
        assert edit.is_kept_by(merge(edit.record, found) or edit.record)


def test_another_wish_supersedes_an_edit() -> None:
    promoted = edits.promote(standing(1), version(2), "stable")
    assert not promoted.is_kept_by(standing(1, 2, stable=1))
    assert not promoted.is_kept_by(standing(1, stable=2))
    assert not promoted.is_kept_by(standing(1, 2, pinned=True, stable=2))
    assert not edits.pin(standing(1), [version(1)]).is_kept_by(standing(1, 2, pinned=True))
    assert not edits.reload(standing(1), 1).is_kept_by(standing(1))
