"""The contract suite of storage path sources: subclass it in a test module, say how versions become live, run pytest.

::

    class TestMine(StoragePathSourceContract):
        entry_point = "my_module:MySource"

        def write_versions(self, base_path: Path, versions: Iterable[int]) -> None: ...
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar, Final

from pipeline import plugins
from pipeline.errors import ConnectorError
from pipeline.records import AspiredVersions
from pipeline.settings import StreamSettings, VersionPolicy, WatchSettings
from pipeline.storage.sources import StoragePathSource

# A source that looks in a thread of its own gets this many chances to say what it should not.
_LOOKS: Final = 5
_INTERVAL_S: Final = 0.02


class Topic:
    """What was published, per stream and in order; refuses as long as it has an error to refuse with."""

    def __init__(self) -> None:
        self.records: list[AspiredVersions] = []
        self.error: Exception | None = None
        self.refused: list[AspiredVersions] = []

    def publish(self, record: AspiredVersions) -> None:
        """Take one record, or raise."""
        if self.error is not None:
            self.refused.append(record)
            raise self.error
        self.records.append(record)

    def sets(self, stream: str) -> list[list[int]]:
        """Return the sets that a stream has had, without repetitions."""
        sets: list[list[int]] = []
        for record in tuple(self.records):
            versions = sorted(version.version for version in record.versions)
            if record.stream == stream and sets[-1:] != [versions]:
                sets.append(versions)
        return sets


class StoragePathSourceContract:
    """What every storage path source must do. Each test has a new source of the streams a and b.

    ``entry_point`` is what the package's entry point names. All versions of a stream are wanted (``versions: {all:
    true}``), where the source leaves that to the settings. What must happen has to happen within ``deadline_s``.
    """

    entry_point: ClassVar[str]
    deadline_s: ClassVar[float] = 20.0

    def write_versions(self, base_path: Path, versions: Iterable[int]) -> None:
        """Make exactly these versions live below ``base_path``, which may exist or not, and no others.

        In one step, as a user should: a source looks while this is running.
        """
        raise NotImplementedError

    # -- the set ------------------------------------------------------------------------------------------------------

    def test_the_full_set_of_a_stream_is_published(self, tmp_path: Path) -> None:
        """As one record, with the kind that the settings name, and paths that exist."""
        topic, source = self._make(tmp_path, a=[1, 2], b=[7])
        self._step_until(source, lambda: topic.sets("a")[-1:] == [[1, 2]] and topic.sets("b")[-1:] == [[7]])
        last = [record for record in topic.records if record.stream == "a"][-1]
        assert last.kind == "lookup", f"the kind is {last.kind!r}, lookup in the settings"
        missing = [version.path for version in last.versions if not Path(version.path).exists()]
        assert not missing, f"paths that are not there: {missing}"

    def test_a_new_version_joins_the_set_and_an_old_one_leaves_it(self, tmp_path: Path) -> None:
        """Every record is the whole set: what it omits is unloaded."""
        topic, source = self._make(tmp_path, a=[1], b=[7])
        self._step_until(source, lambda: topic.sets("a") == [[1]])
        self.write_versions(tmp_path / "a", [1, 2])
        self._step_until(source, lambda: topic.sets("a") == [[1], [1, 2]])
        self.write_versions(tmp_path / "a", [2])
        self._step_until(source, lambda: topic.sets("a") == [[1], [1, 2], [2]])
        self.write_versions(tmp_path / "a", [])
        self._step_until(source, lambda: topic.sets("a") == [[1], [1, 2], [2], []])
        assert topic.sets("b") == [[7]], "a stream that did not change was changed"

    def test_what_did_not_change_is_published_as_it_was_or_not_at_all(self, tmp_path: Path) -> None:
        """So a source may be stateless, and start anew at any time."""
        topic, source = self._make(tmp_path, a=[1, 2], b=[7])
        self._step_until(source, lambda: topic.sets("a") == [[1, 2]])
        self._look_again(source)
        again, other = self._source(tmp_path, topic), len(topic.records)
        self._step_until(again, lambda: len(topic.records) > other)
        self._look_again(again)
        assert topic.sets("a") == [[1, 2]], f"the sets were {topic.sets('a')}"

    # -- what fails ---------------------------------------------------------------------------------------------------

    def test_storage_that_is_away_changes_nothing(self, tmp_path: Path) -> None:
        """Neither its own stream, whose versions stay, nor the others; when it is back, all goes on."""
        topic, source = self._make(tmp_path, a=[1], b=[7])
        self._step_until(source, lambda: bool(topic.sets("a") and topic.sets("b")))
        (tmp_path / "a").rename(tmp_path / "away")
        self._look_again(source)
        assert topic.sets("a") == [[1]], f"its storage is away, and the sets were {topic.sets('a')}"
        self.write_versions(tmp_path / "b", [7, 8])
        self._step_until(source, lambda: topic.sets("b") == [[7], [7, 8]])
        (tmp_path / "away").rename(tmp_path / "a")
        self.write_versions(tmp_path / "a", [1, 2])
        self._step_until(source, lambda: topic.sets("a") == [[1], [1, 2]])

    def test_storage_that_was_never_there_delays_nobody(self, tmp_path: Path) -> None:
        """Its stream is not aspired to at all, an empty set being one that unloads what another has aspired to."""
        self.write_versions(tmp_path / "b", [7])
        topic = Topic()
        source = self._source(tmp_path, topic)
        self._step_until(source, lambda: topic.sets("b") == [[7]])
        self._look_again(source)
        assert topic.sets("a") == [], f"there is no storage, and the sets were {topic.sets('a')}"

    def test_storage_that_makes_no_sense_stops_nothing(self, tmp_path: Path) -> None:
        """A file in place of a base path."""
        (tmp_path / "a").write_text("what is this")
        self.write_versions(tmp_path / "b", [7])
        topic = Topic()
        source = self._source(tmp_path, topic)
        self._step_until(source, lambda: topic.sets("b") == [[7]])
        assert topic.sets("a") == [], f"there is no storage, and the sets were {topic.sets('a')}"

    def test_what_could_not_be_published_is_told_again(self, tmp_path: Path) -> None:
        """At the next step, whatever the broker's client has raised."""
        for number, error in enumerate((ConnectorError("broker", "away"), RuntimeError("a bug"))):
            folder = tmp_path / str(number)
            folder.mkdir()
            topic, source = self._make(folder, a=[1], b=[7])
            topic.error = error
            self._step_until(source, lambda topic=topic: {it.stream for it in topic.refused} == {"a", "b"})  # type: ignore[misc]  # mypy infers no lambda with a default
            topic.error = None
            self._step_until(source, lambda topic=topic: topic.sets("a") == [[1]] and topic.sets("b") == [[7]])  # type: ignore[misc]  # as above

    # -- its thread ---------------------------------------------------------------------------------------------------

    def test_it_makes_its_own_steps_from_start_to_stop(self, tmp_path: Path) -> None:
        """No thread is left that could publish anything after ``stop``."""
        topic, source = self._make(tmp_path, a=[1], b=[7])
        before = set(threading.enumerate())
        source.start()
        self._wait_until(lambda: bool(topic.sets("a") and topic.sets("b")))
        self.write_versions(tmp_path / "a", [1, 2])
        self._wait_until(lambda: topic.sets("a") == [[1], [1, 2]])
        source.stop()
        left = [thread.name for thread in threading.enumerate() if thread not in before]
        assert not left, f"threads left: {left}"

    def test_stopping_is_no_error_at_any_time(self, tmp_path: Path) -> None:
        """Before any start, and twice."""
        _, source = self._make(tmp_path, a=[1], b=[7])
        source.stop()
        source.stop()

    # -- inside -------------------------------------------------------------------------------------------------------

    def _make(self, folder: Path, **versions: Sequence[int]) -> tuple[Topic, StoragePathSource]:
        for stream, numbers in versions.items():
            self.write_versions(folder / stream, numbers)
        topic = Topic()
        return topic, self._source(folder, topic)

    def _source(self, folder: Path, topic: Topic) -> StoragePathSource:
        streams: Mapping[str, StreamSettings] = {
            name: StreamSettings(base_path=str(folder / name), kind="lookup", versions=VersionPolicy(all=True))
            for name in ("a", "b")
        }
        watch = WatchSettings(poll_interval_s=_INTERVAL_S, quiet_period_s=0.0)
        plugin = EntryPoint("under-test", self.entry_point, plugins.STORAGE).load()
        source: StoragePathSource = plugin.from_settings(streams, watch, topic.publish)
        return source

    def _step_until(self, source: StoragePathSource, is_reached: Callable[[], bool]) -> None:
        def step() -> bool:
            source.step()
            return is_reached()

        self._wait_until(step)

    def _look_again(self, source: StoragePathSource) -> None:
        for _ in range(_LOOKS):
            source.step()

    def _wait_until(self, is_reached: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + self.deadline_s
        while not is_reached():
            assert time.monotonic() < deadline_s, f"not within {self.deadline_s:g} s"
            time.sleep(_INTERVAL_S)
