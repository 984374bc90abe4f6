"""What the storage path source aspires to, step by step on a clock that stands still unless told otherwise."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from pipeline.clock import SystemClock
from pipeline.registry.source import connect
from pipeline.storage.file_system import BasePath, FileSystemSource
from pipeline.storage.versions import All, Latest, Specific


class Clock:
    now_s = 0.0

    def monotonic_s(self):
        return self.now_s

    def unix_ms(self):
        return 1_700_000_000_000


class Sink:
    def __init__(self):
        self.calls = []

    def set_aspired(self, stream, items, labels, generation):
        self.calls.append((stream, {item.id.version: item for item in items}, labels, generation))

    def forget(self, _stream, _generation):
        raise AssertionError


class Watch:
    """A source with one stream ``m`` unless told otherwise, its records and what its target got."""

    def __init__(self, root: Path, *bases: BasePath, policy=None, quiet_period_s=0.5):
        self.root = root
        self.base = root / "m"
        self.clock, self.sink, self.records = Clock(), Sink(), []
        bases = bases or (BasePath("m", self.base, policy or Latest()),)
        self.source = FileSystemSource(
            bases, self.clock, self.records.append, publisher="test", quiet_period_s=quiet_period_s
        )
        connect(self.source, self.sink)

    def put(self, name, content="weights", file="model.bin", stream="m"):
        path = self.root / stream / name / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        return path

    def step(self, seconds=0.0):
        """Step now, and once more after so many seconds; return the versions of all records since."""
        self.records.clear()
        self.source.step()
        if seconds:
            self.clock.now_s += seconds
            self.source.step()
        return [tuple(v.version for v in record.versions) for record in self.records]


@pytest.fixture
def watch(tmp_path):
    (tmp_path / "m").mkdir()
    return Watch(tmp_path)


def test_a_version_is_aspired_when_it_has_been_quiet(watch):
    watch.put("1")
    assert watch.step() == []
    assert watch.step(0.4) == []
    assert watch.step(0.1) == [(1,)]
    assert watch.step(9) == []


def test_a_record_and_the_target_carry_path_digest_kind_and_labels(tmp_path):
    watch = Watch(tmp_path, BasePath("m", tmp_path / "m", kind="lookup", labels={"stable": 1}))
    watch.put("001")
    watch.step(1)
    [record], [(stream, items, labels, generation)] = watch.records, watch.sink.calls
    [version] = record.versions
    assert (record.stream, record.kind, record.labels, record.publisher) == ("m", "lookup", {"stable": 1}, "test")
    assert record.published_at_ms == 1_700_000_000_000
    assert version.path == str(tmp_path / "m" / "001")
    assert version.digest.startswith("sha256:")
    assert (stream, labels, generation) == ("m", {"stable": 1}, -1)
    item = items[1]
    assert (item.data, item.path, item.digest, item.kind) == (version.path, version.path, version.digest, "lookup")


def test_a_version_that_is_still_written_to_waits_however_long_it_takes(watch):
    watch.put("1", "a")
    for length in range(2, 20):
        assert watch.step(0.4) == []
        watch.put("1", "a" * length)
    assert watch.step(0.6) == [(1,)]


def test_a_copy_under_a_temporary_name_is_waited_for(watch):
    watch.put("1", "<xml/>", "model.xml")
    part = watch.put("1", "a", ".model.bin.x1")
    for length in range(2, 10):
        assert watch.step(0.4) == []
        part.write_text("a" * length)
    part.rename(part.with_name("model.bin"))
    assert watch.step(0.6) == [(1,)]


@pytest.mark.parametrize("file", [".hidden", "model.bin.tmp", "model.bin.part", ".git/config"])
def test_hidden_and_temporary_files_make_no_version(watch, file):
    watch.put("1", "x", file)
    assert watch.step(9) == [()]


def test_a_version_with_nothing_but_empty_files_is_none_yet(watch):
    path = watch.put("1", "")
    assert watch.step(9) == [()]
    path.write_text("x")
    assert watch.step(9) == [(1,)]


def test_hidden_and_temporary_files_do_not_change_the_digest(watch):
    watch.put("1")
    watch.step(1)
    watch.put("1", "x", ".DS_Store")
    assert watch.step(9) == []


def test_changed_content_is_aspired_again_with_a_new_digest_when_it_is_quiet(watch):
    watch.put("1", "old")
    watch.step(1)
    before = watch.records[-1].versions[0].digest
    watch.put("1", "newer")
    assert watch.step() == []
    assert watch.step(0.6) == [(1,)]
    assert watch.records[-1].versions[0].digest != before
    path = watch.put("1", "old")
    os.utime(path, (1, 1))
    assert watch.step(0.6) == [(1,)]
    assert watch.records[-1].versions[0].digest == before


def test_a_file_that_is_touched_only_is_no_news(watch):
    path = watch.put("1")
    watch.step(1)
    os.utime(path, (1, 1))
    assert watch.step(9) == []


def test_the_digest_tells_names_and_borders_between_files_apart(tmp_path):
    digests = set()
    for number, files in enumerate(
        [{"a": "xy"}, {"b": "xy"}, {"a": "x", "b": "y"}, {"a": "xy", "b": ""}, {"d/a": "xy"}]
    ):
        watch = Watch(tmp_path / str(number))
        for file, content in files.items():
            watch.put("1", content, file)
        watch.step(1)
        digests.add(watch.records[0].versions[0].digest)
    assert len(digests) == 5


def test_the_old_version_stays_while_the_new_one_is_copied(watch):
    watch.put("1")
    watch.step(1)
    watch.put("2")
    assert watch.step() == []
    assert watch.step(0.6) == [(2,)]


def test_a_version_that_is_deleted_or_renamed_is_no_longer_aspired(watch):
    watch = Watch(watch.root, policy=All())
    for name in ("1", "2", "3"):
        watch.put(name)
    assert watch.step(1) == [(1, 2, 3)]
    shutil.rmtree(watch.base / "2")
    (watch.base / "3").rename(watch.base / "3.denied")
    assert watch.step() == [(1,)]


def test_a_version_that_was_renamed_is_not_given_up_before_its_new_number_is_complete(watch):
    watch.put("1")
    watch.step(1)
    (watch.base / "1").rename(watch.base / "2")
    assert watch.step() == []
    assert watch.step(0.6) == [(2,)]


def test_a_base_path_without_versions_unloads_all(watch):
    watch.put("1")
    watch.step(1)
    shutil.rmtree(watch.base / "1")
    assert watch.step() == [()]


@pytest.mark.parametrize("ruin", ["missing", "file"])
def test_a_base_path_that_goes_away_unloads_nothing_is_logged_once_and_recovers(watch, caplog, ruin):
    watch.put("1")
    watch.step(1)
    watch.base.rename(watch.root / "away")
    if ruin == "file":
        watch.base.write_text("")
    assert watch.step(9) == []
    assert watch.step(9) == []
    assert caplog.text.count("can not be read") == 1
    watch.base.unlink(missing_ok=True)
    (watch.root / "away").rename(watch.base)
    watch.put("2")
    assert watch.step(1) == [(2,)]


def test_one_stream_in_trouble_does_not_disturb_its_neighbours(tmp_path, monkeypatch):
    watch = Watch(tmp_path, *(BasePath(name, tmp_path / name) for name in ("gone", "broken", "ok")))
    watch.put("1", stream="ok")
    watch.put("1", stream="broken")
    iterdir = Path.iterdir

    def break_one(path):
        if path.name == "broken":
            raise RuntimeError("a bug")
        return iterdir(path)

    monkeypatch.setattr(Path, "iterdir", break_one)
    watch.step(1)
    assert [record.stream for record in watch.records] == ["ok"]


def test_only_streams_that_changed_are_told(tmp_path):
    watch = Watch(tmp_path, BasePath("a", tmp_path / "a"), BasePath("b", tmp_path / "b"))
    watch.put("1", stream="a")
    watch.put("1", stream="b")
    watch.step(1)
    watch.put("2", stream="b")
    watch.step(1)
    assert [record.stream for record in watch.records] == ["b"]


def test_a_single_file_is_a_version(watch):
    (watch.base / "3").write_text("key,value")
    assert watch.step(1) == [(3,)]


def test_names_that_are_nearly_numbers_are_ignored_with_one_warning(watch, caplog):
    for name in ("-1", " 2", "1\n", "1e3", "README", "9" * 30, "007"):
        watch.put(name)
    assert watch.step(1) == [(7,)]
    watch.step(1)
    warned = [record.getMessage() for record in caplog.records if "ignores" in record.getMessage()]
    assert len(warned) == 4
    assert watch.sink.calls[0][1][7].data.endswith("/m/007")


def test_of_two_spellings_the_canonical_one_is_taken(watch, caplog):
    watch.put("007", "a")
    watch.put("7", "b")
    watch.step(1)
    assert watch.sink.calls[0][1][7].data.endswith("/m/7")
    assert "taken from '7'" in caplog.text


@pytest.mark.parametrize("link", ["version", "file", "folder"])
def test_a_link_that_leads_out_of_the_base_path_is_refused(watch, caplog, link):
    outside = watch.root / "outside"
    outside.mkdir()
    (outside / "secret").write_text("x")
    watch.put("1")
    if link == "version":
        (watch.base / "2").symlink_to(outside)
    else:
        watch.put("2")
        (watch.base / "2" / "link").symlink_to(outside / "secret" if link == "file" else outside)
    assert watch.step(9) == [(1,)]
    watch.step(9)
    assert caplog.text.count("outside") >= 1
    assert sum("ignores" in record.getMessage() for record in caplog.records) == 1


def test_a_link_inside_the_base_path_is_followed_and_a_circle_ends(watch):
    watch.put("..data", "x")
    (watch.base / "1").mkdir()
    (watch.base / "1" / "model.bin").symlink_to(watch.base / "..data" / "model.bin")
    (watch.base / "1" / "circle").symlink_to(watch.base / "1")
    assert watch.step(1) == [(1,)]


def test_specific_versions_that_are_missing_are_warned_about_once(watch, caplog):
    watch = Watch(watch.root, policy=Specific((2, 9)))
    for name in ("1", "02"):
        watch.put(name)
    assert watch.step(1) == [(2,)]
    watch.step(1)
    assert caplog.text.count("version 9") == 1


def test_a_change_that_could_not_be_published_is_told_again(watch):
    watch.put("1")
    publish, is_away = watch.source._publish, True

    def flaky(record):
        if is_away:
            raise ConnectionError
        publish(record)

    watch.source._publish = flaky
    assert watch.step(1) == []
    is_away = False
    assert watch.step() == [(1,)]


def test_content_is_read_once_for_each_change(watch, monkeypatch):
    path, opened = watch.put("1"), []
    path_open = Path.open

    def count(self, *args, **more):
        opened.append(self)
        return path_open(self, *args, **more)

    monkeypatch.setattr(Path, "open", count)
    for _ in range(5):
        watch.step(1)
    assert opened == [path]


def test_it_polls_on_a_thread_until_it_is_stopped(tmp_path):
    told = threading.Event()
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "f").write_text("x")
    bases = [BasePath("m", tmp_path / "m")]
    source = FileSystemSource(bases, SystemClock(), lambda _: told.set(), quiet_period_s=0.01, poll_interval_s=0.005)
    source.start()
    assert told.wait(10)
    source.stop()
    assert not any(thread.name == "penstock-storage" for thread in threading.enumerate())


def test_a_source_has_one_target(watch):
    with pytest.raises(RuntimeError, match="already"):
        connect(watch.source, Sink())
