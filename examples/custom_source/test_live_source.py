"""Both sources keep the contract of every storage path source, and their own."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from live_source import FILE, LiveSource, LiveTreeSource, read_live

from pipeline.records import AspiredVersions
from pipeline.settings import StreamSettings
from pipeline.testing.source_contract import StoragePathSourceContract


class TestLive(StoragePathSourceContract):
    """What all sources promise."""

    entry_point = "live_source:LiveSource"

    def write_versions(self, base_path: Path, versions: Iterable[int]) -> None:
        """A directory each, and their numbers in the file."""
        base_path.mkdir(exist_ok=True)
        for version in versions:
            (base_path / str(version)).mkdir(exist_ok=True)
        (base_path / FILE).write_text("".join(f"{version}\n" for version in versions) or "-")


def test_labels_stand_beside_the_version_that_they_name(tmp_path: Path) -> None:
    """So they move with it, in one record."""
    (tmp_path / FILE).write_text("3 stable\n\n4 canary next\n")
    record = read_live("digits", tmp_path, None)
    assert [version.version for version in record.versions] == [3, 4]
    assert record.labels == {"stable": 3, "canary": 4, "next": 4}


def test_a_file_that_is_being_written_unloads_nothing(tmp_path: Path) -> None:
    """It is empty for a moment; a dash says that no version is live."""
    told: list[AspiredVersions] = []
    source = LiveSource({"digits": StreamSettings(base_path=str(tmp_path))}, told.append)
    for text, sets in (("3\n", 1), ("", 1), ("-\n", 2)):
        (tmp_path / FILE).write_text(text)
        source.step()
        assert len(told) == sets
    assert told[-1] == AspiredVersions("digits")


def test_streams_come_and_go_with_their_directories(tmp_path: Path) -> None:
    """One setting, any number of streams; a directory without the file is none."""
    told: list[AspiredVersions] = []
    source = LiveTreeSource({"zoo": StreamSettings(base_path=str(tmp_path))}, told.append)
    for name, live in (("cats", "1"), ("dogs", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / FILE).write_text(live)
    (tmp_path / "drafts").mkdir()
    source.step()
    assert [(it.stream, [v.version for v in it.versions]) for it in told] == [("cats", [1]), ("dogs", [2])]
    (tmp_path / "cats" / FILE).unlink()
    source.step()
    source.step()
    assert told[2:] == [AspiredVersions("cats")]
    tmp_path.rename(tmp_path.with_name("away"))
    source.step()
    assert len(told) == 3
    tmp_path.with_name("away").rename(tmp_path)
