"""Versions in an object store: how they are found, and how they come to a worker, also with the store wrong or gone."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipeline.errors import FetchFailed, InvalidArtefact, LoadFailed, PathRefused
from pipeline.records import AspiredVersion
from pipeline.registry.servable import ServableId
from pipeline.rollout import VersionLoader
from pipeline.settings import BatchingSettings, StreamSettings, WatchSettings
from pipeline.storage.cache import Cache
from pipeline.storage.fetch import Fetcher, cache_folder
from pipeline.storage.object_store import POLL_INTERVAL_S, ObjectStoreSource
from pipeline.storage.path_source import PathSource
from pipeline.testing.fakes import AddingServable, FakeClock


class FaultyStore(MemoryFileSystem):
    """A store whose reads and listings can be refused; ``faulty://`` in this process."""

    protocol = "faulty"
    store: ClassVar[dict[str, object]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    is_gone = False
    reads: ClassVar[list[str]] = []
    during_read = None

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("faulty:/"))

    def find(self, path, **more):
        if FaultyStore.is_gone:
            raise ConnectionError("the store is gone")
        return super().find(path, **more)

    def cat_file(self, path, *bounds, **more):
        FaultyStore.reads.append(path)
        return super().cat_file(path, *bounds, **more)

    def get_file(self, rpath, lpath, **more):
        if FaultyStore.is_gone:
            raise RuntimeError("an error of the store's own package")
        FaultyStore.reads.append(rpath)
        super().get_file(rpath, lpath, **more)
        if FaultyStore.during_read:
            FaultyStore.during_read(rpath, lpath)


@pytest.fixture
def store():
    fsspec.register_implementation("faulty", FaultyStore, clobber=True)
    FaultyStore.store.clear()
    FaultyStore.is_gone, FaultyStore.during_read = False, None
    FaultyStore.reads.clear()
    return fsspec.filesystem("faulty")


def put(store, path, content="weights"):
    store.pipe_file(f"/bucket/m/{path}", content.encode())


class Watch:
    def __init__(self, **stream):
        self.records, self.clock = [], FakeClock()
        self.settings = StreamSettings(base_path="faulty://bucket/m", storage="fsspec", **stream)
        self.source = ObjectStoreSource.from_settings({"m": self.settings}, WatchSettings(), self.records.append)
        for watch in self.source._watches.values():
            watch._clock = self.clock

    def step(self, seconds=0.0):
        self.records.clear()
        self.source.step()
        if seconds:
            self.clock.advance(seconds)
            self.source.step()
        return [tuple(version.version for version in record.versions) for record in self.records]


def test_a_version_is_aspired_by_its_uri_when_its_listing_has_stood_still_and_nothing_is_read(store):
    watch = Watch()
    put(store, "1/model.bin")
    put(store, "1/deep/er.bin")
    put(store, "README")
    assert watch.step() == []
    assert watch.step(1) == [(1,)]
    [version] = watch.records[0].versions
    assert version.path == "faulty://bucket/m/1"
    assert version.digest.startswith("sha256:")
    assert FaultyStore.reads == []
    put(store, "2/model.bin")
    assert watch.step(1) == [(2,)]
    store.rm("/bucket/m/2", recursive=True)
    assert watch.step() == [(1,)]


def test_changed_content_is_aspired_again_with_a_new_digest(store):
    watch = Watch()
    put(store, "1/model.bin")
    watch.step(1)
    before = watch.records[0].versions[0].digest
    put(store, "1/model.bin", "another")
    assert watch.step(1) == [(1,)]
    assert watch.records[0].versions[0].digest != before


def test_markers_and_manifests_are_waited_for(store):
    marked = Watch(complete_when="marker", marker="DONE")
    put(store, "1/model.bin")
    assert marked.step(9) == []
    put(store, "1/DONE", "")
    assert marked.step() == [(1,)]
    listed = Watch(complete_when="manifest")
    put(store, "1/SHA256SUMS", f"{'a' * 64}  model.bin\n{'b' * 64}  late.bin\n")
    assert listed.step(9) == []
    put(store, "1/late.bin")
    assert listed.step(1) == [(1,)]


def test_a_store_that_is_gone_or_empty_changes_nothing_and_is_logged_once(store, caplog):
    watch = Watch()
    assert watch.step(1) == []
    put(store, "1/model.bin")
    assert watch.step(1) == [(1,)]
    FaultyStore.is_gone = True
    assert watch.step(9) == []
    assert watch.step(9) == []
    assert caplog.text.count("the store is gone") == 1
    FaultyStore.is_gone = False
    put(store, "2/model.bin")
    assert watch.step(1) == [(2,)]


def test_listings_cost_money_so_stores_are_polled_seldom_unless_a_stream_says_otherwise(store):
    assert Watch().source._watches["m"].base.poll_interval_s == POLL_INTERVAL_S
    assert Watch(poll_interval_s=0.1).source._watches["m"].base.poll_interval_s == 0.1


def test_the_streams_of_a_store_can_be_replaced(store):
    watch = Watch()
    put(store, "1/model.bin")
    watch.step(1)
    watch.source.update({})
    assert watch.step() == [()]
    assert isinstance(watch.source, PathSource)


ROOTS = ("faulty://bucket/m",)


@pytest.fixture
def cache(tmp_path):
    return Cache(tmp_path / "cache", 1 << 30)


def digest_of(store, path="1"):
    watch = Watch()
    watch.step(1)
    return {str(version.version): version.digest for version in watch.records[0].versions}[path]


def test_a_version_is_downloaded_once_and_a_restarted_worker_needs_no_store(store, cache, tmp_path):
    put(store, "1/model.bin")
    put(store, "1/deep/er.bin", "more")
    digest = digest_of(store)
    path = Fetcher(cache).local_path("faulty://bucket/m/1", digest, ROOTS)
    assert (path / "model.bin").read_text() == "weights"
    assert (path / "deep/er.bin").read_text() == "more"
    FaultyStore.is_gone = True
    again = Fetcher(Cache(tmp_path / "cache", 1 << 30))
    assert again.local_path("faulty://bucket/m/1", digest, ROOTS) == path
    assert again.local_path("faulty://bucket/m/1", None, ROOTS) == path
    assert len(FaultyStore.reads) == 2
    with pytest.raises(FetchFailed, match="can not be fetched") as error:
        again.local_path("faulty://bucket/m/2", None, ROOTS)
    assert error.value.retriable


def test_a_single_object_is_a_version_too(store, cache):
    put(store, "3", "key,value")
    path = Fetcher(cache).local_path("faulty://bucket/m/3", digest_of(store, "3"), ROOTS)
    assert path.read_text() == "key,value"


def test_a_path_of_this_machine_is_checked_only(cache, tmp_path):
    (tmp_path / "m" / "1").mkdir(parents=True)
    fetcher = Fetcher(cache)
    assert fetcher.local_path(str(tmp_path / "m" / "1"), None, [str(tmp_path / "m")]) == tmp_path / "m" / "1"
    fetcher.release(tmp_path / "m" / "1")
    with pytest.raises(PathRefused):
        fetcher.local_path(str(tmp_path), None, [str(tmp_path / "m")])


def test_other_content_than_was_aspired_is_not_taken(store, cache, tmp_path):
    put(store, "1/model.bin")
    digest = digest_of(store)
    put(store, "1/model.bin", "overwritten")
    with pytest.raises(FetchFailed, match="other content"):
        Fetcher(cache).local_path("faulty://bucket/m/1", digest, ROOTS)


@pytest.mark.parametrize("trouble", ["rewritten", "truncated", "gone"])
def test_what_goes_wrong_during_the_download_leaves_nothing_behind(store, cache, tmp_path, trouble):
    put(store, "1/a")
    put(store, "1/b")
    digest = digest_of(store)

    def interfere(_remote, local):
        if trouble == "rewritten":
            put(store, "1/a", "meanwhile")
        elif trouble == "truncated":
            Path(local).write_text("we")
        else:
            FaultyStore.is_gone = True

    FaultyStore.during_read = interfere
    with pytest.raises(LoadFailed):
        Fetcher(cache).local_path("faulty://bucket/m/1", digest, ROOTS)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] in ([], [".lock"])


def test_the_worker_checks_what_a_manifest_lists(store, cache):
    put(store, "1/model.bin")
    put(store, "1/SHA256SUMS", f"{hashlib.sha256(b'weights').hexdigest()}  model.bin\n")
    put(store, "2/model.bin", "tampered")
    put(store, "2/SHA256SUMS", f"{hashlib.sha256(b'weights').hexdigest()}  model.bin\n")
    put(store, "3/SHA256SUMS", f"{'a' * 64}  ../1/model.bin\n")
    fetcher = Fetcher(cache)
    fetcher.local_path("faulty://bucket/m/1", None, ROOTS, "SHA256SUMS")
    with pytest.raises(InvalidArtefact, match=r"model\.bin"):
        fetcher.local_path("faulty://bucket/m/2", None, ROOTS, "SHA256SUMS")
    with pytest.raises(InvalidArtefact, match="not inside"):
        fetcher.local_path("faulty://bucket/m/3", None, ROOTS, "SHA256SUMS")


def test_the_cache_gives_up_what_was_used_longest_ago_and_never_what_is_in_use(store, tmp_path):
    fetcher = Fetcher(Cache(tmp_path / "cache", 250))
    paths = {}
    for version in ("1", "2", "3"):
        put(store, f"{version}/model.bin", version * 100)
    for version in ("1", "2", "3"):
        paths[version] = fetcher.local_path(f"faulty://bucket/m/{version}", None, ROOTS)
    assert all(path.exists() for path in paths.values())  # in use, all of them
    fetcher.release(paths["2"])
    put(store, "4/model.bin", "4" * 100)
    paths["4"] = fetcher.local_path("faulty://bucket/m/4", None, ROOTS)
    assert [version for version, path in paths.items() if path.exists()] == ["1", "3", "4"]


def test_another_process_that_uses_a_version_keeps_it_until_it_dies(store, tmp_path):
    put(store, "1/model.bin", "1" * 100)
    put(store, "2/model.bin", "2" * 100)
    small = Fetcher(Cache(tmp_path / "cache", 50))
    path = small.local_path("faulty://bucket/m/1", None, ROOTS)
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        from pipeline.storage.cache import Cache
        print(Cache(Path(sys.argv[1]), 50).last_of(sys.argv[2]), flush=True)
        sys.stdin.read()
    """)
    command = [sys.executable, "-c", code, str(tmp_path / "cache"), "faulty://bucket/m/1"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline().strip() == str(path)
        small.release(path)
        small.release(small.local_path("faulty://bucket/m/2", None, ROOTS))
        assert path.exists()
        other.kill()
    put(store, "3/model.bin", "3" * 100)
    small.local_path("faulty://bucket/m/3", None, ROOTS)
    assert not path.exists()


def test_two_threads_that_want_one_version_download_it_once(store, cache):
    put(store, "1/model.bin")
    paths, fetcher = [], Fetcher(cache)

    def fetch():
        paths.append(fetcher.local_path("faulty://bucket/m/1", None, ROOTS))

    threads = [threading.Thread(target=fetch) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(set(paths)) == 1
    assert len(paths) == 4
    assert len(FaultyStore.reads) == 1


def test_an_entry_that_lost_bytes_is_downloaded_again(store, cache):
    put(store, "1/model.bin")
    fetcher = Fetcher(cache)
    path = fetcher.local_path("faulty://bucket/m/1", None, ROOTS)
    fetcher.release(path)
    (path / "model.bin").write_text("")
    assert (fetcher.local_path("faulty://bucket/m/1", None, ROOTS) / "model.bin").read_text() == "weights"


def test_the_cache_lies_where_it_is_told_or_with_the_user(tmp_path):
    assert cache_folder("/var/cache/x", {}) == tmp_path.__class__("/var/cache/x")
    assert str(cache_folder("", {"XDG_CACHE_HOME": "/c"})) == "/c/penstock/versions"
    assert str(cache_folder("", {"HOME": "/home/u"})) == "/home/u/.cache/penstock/versions"
    assert cache_folder("", {}).is_absolute()


@pytest.mark.parametrize(
    "uri",
    [
        "faulty://bucket/m/../secret", "faulty://bucket/m/%2e%2e/secret", "faulty://bucket/mm/1", "faulty://bucket",
        "faulty://other/m/1", "other://bucket/m/1", "file:///etc/passwd", "simplecache::faulty://bucket/m/1",
        "faulty://bucket/m/1?x=1", "faulty://bucket/m//1", "faulty://bucket/m/1\n", "faulty://bucket/m\\..\\x",
    ],
)  # fmt: skip
def test_a_uri_that_leads_out_of_the_roots_is_refused_before_anything_is_asked(cache, store, uri):
    FaultyStore.is_gone = True
    with pytest.raises(PathRefused):
        Fetcher(cache).local_path(uri, None, ("/bucket/m", *ROOTS))


class Adapters:
    """Hands out a loader that reads one file, and fails the first time."""

    kind = "x"

    def __init__(self):
        self.failures = 1

    def named(self, _kind):
        return self

    def loader(self, _id, path, _options):
        self.path = path
        return self

    def estimate_bytes(self):
        return len((self.path / "model.bin").read_text())

    def load(self):
        if self.failures:
            self.failures -= 1
            raise RuntimeError("not yet")
        servable = AddingServable()
        servable.read = (self.path / "model.bin").read_text()
        return servable

    def unload(self):
        pass


def test_a_loader_holds_its_version_in_the_cache_from_its_load_to_its_unload(store, tmp_path):
    fetcher = Fetcher(Cache(tmp_path / "cache", 10))
    for version in ("1", "2", "3"):
        put(store, f"{version}/model.bin")
    uri = "faulty://bucket/m/1"
    settings = StreamSettings(base_path="faulty://bucket/m")
    loader = VersionLoader(
        ServableId("m", 1), AspiredVersion(1, uri), "x", settings, BatchingSettings, ROOTS, Adapters(), fetcher
    )
    assert loader.estimate_bytes() == 7
    assert not fetcher._cache._held
    with pytest.raises(RuntimeError):
        loader.load()
    assert not fetcher._cache._held
    assert loader.load().read == "weights"
    path = loader._path
    fetcher.release(fetcher.local_path("faulty://bucket/m/2", None, ROOTS))
    assert path.exists()
    loader.unload()
    fetcher.release(fetcher.local_path("faulty://bucket/m/3", None, ROOTS))
    assert not path.exists()


def test_real_files_under_a_uri_are_found_and_fetched_and_may_then_go_away(tmp_path, cache):
    (tmp_path / "store" / "m" / "1").mkdir(parents=True)
    (tmp_path / "store" / "m" / "1" / "model.bin").write_text("weights")
    root = f"file://{tmp_path}/store/m"
    records, clock = [], FakeClock()
    stream = StreamSettings(base_path=root, storage="fsspec")
    source = ObjectStoreSource.from_settings({"m": stream}, WatchSettings(), records.append)
    source._watches["m"]._clock = clock
    source.step()
    clock.advance(1)
    source.step()
    [version] = records[0].versions
    path = Fetcher(cache).local_path(version.path, version.digest, [root])
    assert (path / "model.bin").read_text() == "weights"
    shutil.rmtree(tmp_path / "store")
    source.step()
    assert len(records) == 1
    assert Fetcher(Cache(tmp_path / "cache", 1)).local_path(version.path, version.digest, [root]) == path
