"""Where the content of a version is found that is not aspired now."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.control.known_versions import KnownVersions
from pipeline.errors import InvalidSettings
from pipeline.records import AspiredVersion, AspiredVersions, Error, ServableState, State

ASPIRED = AspiredVersions("m", (AspiredVersion(5, "/a/5", "sha256:5"),))


def row(version: int, state: State, path: str, error: Error | None = None) -> ServableState:
    load_ms = None if error else 1
    return ServableState("w", "m", version, state, error, path=path, digest="sha256:r", load_ms=load_ms, at_ms=version)


ROWS = (
    row(3, State.END, "/r/3"),
    row(4, State.END, "/r/4", Error("load_failed", "", retriable=False)),
    row(5, State.AVAILABLE, "/r/5"),
)


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    for number in (1, 4):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "model").write_text("x")
    return tmp_path


def test_what_is_aspired_counts_before_what_is_reported_before_what_is_stored(stored: Path) -> None:
    known = KnownVersions(ASPIRED, ROWS, str(stored))
    assert known.find(5).path == "/a/5"
    assert known.find(4).path == "/r/4"
    found = known.find(1)
    assert found.path == str(stored / "1")
    assert found.digest is not None
    assert found.digest.startswith("sha256:")


def test_a_version_that_is_nowhere_is_refused_with_what_was_tried(stored: Path) -> None:
    with pytest.raises(InvalidSettings, match="nor found in"):
        KnownVersions(ASPIRED, ROWS, str(stored)).find(9)
    with pytest.raises(InvalidSettings, match="no settings name its base path"):
        KnownVersions(ASPIRED, (), None).find(9)


def test_labelled_versions_are_found_as_far_as_they_are_known() -> None:
    labelled = AspiredVersions("m", ASPIRED.versions, labels={"a": 3, "b": 5, "c": 9})
    assert [it.version for it in KnownVersions(labelled, ROWS, None).labelled()] == [3, 5]


def test_a_roll_back_goes_to_what_has_served_and_else_to_what_is_stored(stored: Path) -> None:
    assert KnownVersions(ASPIRED, ROWS, str(stored)).before() == 3
    assert KnownVersions(ASPIRED, (), str(stored)).before() == 4
    with pytest.raises(InvalidSettings, match="--to"):
        KnownVersions(ASPIRED, (), None).before()
