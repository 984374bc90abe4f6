"""What the storage path source aspires to, step by step on a clock that stands still unless told otherwise."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from pathlib import Path

import pytest

from pipeline.clock import SystemClock
from pipeline.storage.base_path import BasePath
from pipeline.storage.completeness import CompleteWhen, Completion
from pipeline.storage.file_system import FileSystemSource
from pipeline.storage.local_folder import LocalFolder
from pipeline.storage.versions import All, Latest, Specific
from pipeline.testing.fakes import FakeClock


class Watch:
    """A source with one stream ``m`` unless told otherwise, and its records."""

    def __init__(self, root: Path, *bases: BasePath, policy=None, folder_of=None, **settings):
        self.root = root
        self.base = root / "m"
        self.clock, self.records = FakeClock(), []
        self.refuses = False
        self.opened = []
        bases = bases or (BasePath("m", str(self.base), policy or Latest(), **settings),)
        self.source = FileSystemSource(
            bases, self.clock, self.publish, publisher="test", folder_of=folder_of or self.folder_of
        )

    def folder_of(self, base):
        watch = self

        class Folder(LocalFolder):
            def hash_of(self, name, stamp):
                watch.opened.append(f"{name}/{stamp.name}")
                return super().hash_of(name, stamp)

        return Folder(base.path)

    def publish(self, record):
        if self.refuses:
            raise ConnectionError
        self.records.append(record)

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
            self.clock.advance(seconds)
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


def test_a_record_carries_path_digest_kind_and_publisher(tmp_path):
    watch = Watch(tmp_path, BasePath("m", str(tmp_path / "m"), kind="lookup"))
    watch.put("001")
    watch.step(1)
    [record] = watch.records
    [version] = record.versions
    assert (record.stream, record.kind, record.labels, record.publisher) == ("m", "lookup", {}, "test")
    assert record.published_at_ms == 1_700_000_001_000
    assert version.path == str(tmp_path / "m" / "001")
    assert version.digest.startswith("sha256:")


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
    assert caplog.text.count("nothing changes") == 1
    watch.base.unlink(missing_ok=True)
    (watch.root / "away").rename(watch.base)
    watch.put("2")
    assert watch.step(1) == [(2,)]


def test_one_stream_in_trouble_does_not_disturb_its_neighbours(tmp_path):
    class Broken(LocalFolder):
        def children(self):
            raise RuntimeError("a bug")

    def folder_of(base):
        return (Broken if base.stream == "broken" else LocalFolder)(base.path)

    bases = (BasePath(name, str(tmp_path / name)) for name in ("gone", "broken", "ok"))
    watch = Watch(tmp_path, *bases, folder_of=folder_of)
    watch.put("1", stream="ok")
    watch.put("1", stream="broken")
    watch.step(1)
    assert [record.stream for record in watch.records] == ["ok"]


def test_only_streams_that_changed_are_told(tmp_path):
    watch = Watch(tmp_path, BasePath("a", str(tmp_path / "a")), BasePath("b", str(tmp_path / "b")))
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
    assert watch.records[0].versions[0].path.endswith("/m/007")
    watch.step(1)
    warned = [record.getMessage() for record in caplog.records if "ignores" in record.getMessage()]
    assert len(warned) == 4


def test_of_two_spellings_the_canonical_one_is_taken(watch, caplog):
    watch.put("007", "a")
    watch.put("7", "b")
    watch.step(1)
    assert watch.records[0].versions[0].path.endswith("/m/7")
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
    watch.refuses = True
    assert watch.step(1) == []
    watch.refuses = False
    assert watch.step() == [(1,)]


def test_content_is_read_once_for_each_change_and_only_the_file_that_changed(watch):
    watch.put("1", file="a")
    watch.put("1", file="b")
    for _ in range(3):
        watch.step(1)
    assert sorted(watch.opened) == ["1/a", "1/b"]
    watch.put("1", "other", file="b")
    for _ in range(3):
        watch.step(1)
    assert watch.opened[2:] == ["1/b"]


def test_it_polls_on_threads_until_it_is_stopped(tmp_path):
    told = threading.Event()
    (tmp_path / "m" / "1").mkdir(parents=True)
    (tmp_path / "m" / "1" / "f").write_text("x")
    bases = [BasePath("m", str(tmp_path / "m"), completion=Completion(quiet_period_s=0.01), poll_interval_s=0.005)]
    source = FileSystemSource(bases, SystemClock(), lambda _: told.set(), notifies=True)
    source.start()
    assert told.wait(10)
    source.stop()
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("penstock-")]


def test_with_a_marker_a_version_is_aspired_at_once_and_without_it_never(watch):
    watch = Watch(watch.root, completion=Completion(CompleteWhen.MARKER, "_SUCCESS"))
    watch.put("1")
    assert watch.step(99) == []
    watch.put("1", "", "_SUCCESS")
    assert watch.step() == [(1,)]


def test_content_that_changes_under_a_marker_that_stays_must_stand_still(watch):
    watch = Watch(watch.root, completion=Completion(CompleteWhen.MARKER, "_SUCCESS"))
    watch.put("1", "", "_SUCCESS")
    watch.put("1")
    watch.step()
    watch.put("1", "other")
    assert watch.step() == []
    assert watch.step(0.6) == [(1,)]
    watch.put("1", "once more")
    watch.put("1", "", "_SUCCESS")
    assert watch.step() == [(1,)]


def manifest(watch, name, **files):
    import hashlib

    lines = [f"{hashlib.sha256(content.encode()).hexdigest()}  {file}\n" for file, content in files.items()]
    return watch.put(name, "".join(lines), "SHA256SUMS")


def test_with_a_manifest_a_version_is_aspired_when_all_it_lists_is_there_and_fits(watch, caplog):
    watch = Watch(watch.root, completion=Completion(CompleteWhen.MANIFEST, "SHA256SUMS"))
    watch.put("1", "one", "a")
    assert watch.step(9) == []
    manifest(watch, "1", a="one", b="two")
    assert watch.step() == []
    watch.put("1", "tw", "b")
    assert watch.step() == []
    assert "another SHA-256" not in caplog.text  # half a file is no news
    watch.put("1", "two", "b")
    assert watch.step(0.6) == [(1,)]


def test_a_manifest_that_does_not_fit_is_reported_once_and_the_version_never_aspired(watch, caplog):
    watch = Watch(watch.root, completion=Completion(CompleteWhen.MANIFEST, "SHA256SUMS"))
    watch.put("1", "one", "a")
    manifest(watch, "1", a="another")
    watch.put("2", "x", "a")
    watch.put("2", "nonsense", "SHA256SUMS")
    for _ in range(3):
        assert watch.step(9) == []
    assert caplog.text.count("another SHA-256") == 1
    assert caplog.text.count("line 1 is not") == 1
    assert sorted(watch.opened) == ["1/SHA256SUMS", "1/a"]  # what does not fit is not read again
    watch.put("1", "another", "a")
    assert watch.step(9) == [(1,)]


def test_specific_policy_without_versions_unloads_all_with_one_warning(watch, caplog):
    watch = Watch(watch.root, policy=Specific(()))
    watch.put("1")
    assert watch.step(1) == [()]
    watch.step(1)
    assert caplog.text.count("list no specific one") == 1


@pytest.mark.parametrize(("policy", "chosen"), [(All(), (7, 8)), (Latest(2), (7, 8)), (Specific((7,)), (7,))])
def test_two_spellings_are_one_version_under_every_policy(watch, policy, chosen):
    watch = Watch(watch.root, policy=policy)
    for name in ("7", "007", "08", "008"):
        watch.put(name)
    assert watch.step(1) == [chosen]


def test_a_stream_that_keeps_its_last_is_never_unloaded_by_an_empty_base_path(watch):
    watch = Watch(watch.root, keep_last=True)
    assert watch.step(1) == []
    watch.put("1")
    assert watch.step(1) == [(1,)]
    shutil.rmtree(watch.base / "1")
    assert watch.step(1) == []
    watch.put("2")
    assert watch.step(1) == [(2,)]


def test_streams_come_and_go_and_those_that_stay_see_no_flicker(tmp_path):
    a, b, c = (BasePath(name, str(tmp_path / name)) for name in "abc")
    watch = Watch(tmp_path, a, b)
    for stream in "abc":
        watch.put("1", stream=stream)
    watch.step(1)
    watch.records.clear()
    watch.source.set_base_paths([b, c])
    watch.source.step()
    watch.clock.advance(1)
    watch.source.step()
    told = [(record.stream, [version.version for version in record.versions]) for record in watch.records]
    assert told == [("a", []), ("c", [1])]


def test_another_policy_is_applied_to_what_has_been_seen_and_reads_nothing_again(watch):
    for name in ("1", "02", "3"):
        watch.put(name)
    assert watch.step(1) == [(3,)]
    read = len(watch.opened)
    watch.source.set_base_paths([BasePath("m", str(watch.base), Specific((2, 5)))])
    assert watch.step() == [(2,)]
    assert len(watch.opened) == read


def test_another_base_path_with_the_same_numbers_is_aspired_by_its_own_paths_without_an_empty_set(watch):
    watch.put("1")
    watch.step(1)
    watch.put("1", "other", stream="n")
    watch.source.set_base_paths([BasePath("m", str(watch.root / "n"))])
    assert watch.step() == []
    assert watch.step(1) == [(1,)]
    assert watch.records[0].versions[0].path == str(watch.root / "n" / "1")


def test_a_base_path_that_is_a_file_is_named_as_such(watch, caplog):
    watch.base.rmdir()
    watch.base.write_text("")
    watch.step(1)
    watch.step(1)
    assert caplog.text.count("is not a directory") == 1


def special(path: Path, what: str) -> None:
    if what == "fifo":
        os.mkfifo(path)
    elif what == "socket":
        with socket.socket(socket.AF_UNIX) as listener:
            os.chdir(path.parent)
            listener.bind(path.name)
    elif what == "loop":
        path.symlink_to(path.name)
    else:
        path.symlink_to("/dev/zero")


@pytest.mark.timeout(30)
@pytest.mark.parametrize("what", ["fifo", "socket", "loop", "device"])
@pytest.mark.parametrize("place", ["2", "2/inside", "2/deep/inside"])
def test_what_is_no_regular_file_blocks_nothing_and_makes_no_version(watch, caplog, monkeypatch, what, place):
    monkeypatch.chdir(watch.root)
    watch.put("1")
    path = watch.base / place
    path.parent.mkdir(parents=True, exist_ok=True)
    if place != "2":
        (watch.base / "2" / "weights").write_text("x")
    special(path, what)
    assert watch.step(9) == [(1,)]
    watch.step(9)
    assert sum("ignores '2'" in record.getMessage() for record in caplog.records) == 1


def test_a_file_that_becomes_a_fifo_before_it_is_read_blocks_nothing(watch):
    class Swapped(LocalFolder):
        def hash_of(self, name, stamp):
            path = watch.base / name / stamp.name
            path.unlink()
            os.mkfifo(path)
            return super().hash_of(name, stamp)

    watch = Watch(watch.root, folder_of=lambda base: Swapped(base.path))
    watch.put("1")
    assert watch.step(1) == []


def test_a_version_that_can_not_be_read_is_named_once_and_the_others_go_on(watch, caplog):
    class Denied(LocalFolder):
        def fingerprint(self, name):
            if name == "2":
                raise PermissionError(13, "Permission denied", name)
            return super().fingerprint(name)

    watch = Watch(watch.root, folder_of=lambda base: Denied(base.path))
    watch.put("1")
    watch.put("2")
    assert watch.step(1) == [(1,)]
    watch.step(1)
    assert caplog.text.count("Permission denied") == 1


def test_links_that_multiply_paths_end_at_the_bound_of_files(watch, caplog, monkeypatch):
    monkeypatch.setattr("pipeline.storage.local_folder.MAX_FILES", 500)
    folders = [watch.base / "2" / str(number) for number in range(8)]
    for folder in folders:
        folder.mkdir(parents=True)
    for folder in folders:
        for other in folders:
            (folder / f"to{other.name}").symlink_to(other)
    watch.put("1")
    watch.put("2")
    assert watch.step(1) == [(1,)]
    assert "more than 500 files" in caplog.text


def test_a_base_path_whose_changes_are_not_all_told_is_polled(watch, monkeypatch):
    folder = LocalFolder(str(watch.base), can_notify=lambda _: True)
    put = [watch.put("1", file=f"{number}/weights") for number in range(4)]
    list(folder.children())
    folder.fingerprint("1")
    assert len(folder.directories()) == len(put) + 2
    monkeypatch.setattr("pipeline.storage.local_folder._MAX_WATCHED", 3)
    list(folder.children())
    folder.fingerprint("1")
    assert folder.directories() == frozenset()


def test_a_version_of_thousands_of_files_is_one_version(watch):
    for number in range(3000):
        watch.put("1", "x", f"{number % 50}/{number}")
    assert watch.step(1) == [(1,)]
