"""What the storage path source promises on its threads: states within a deadline, never a duration."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from pipeline.clock import SystemClock
from pipeline.errors import ConnectorError
from pipeline.storage import polls
from pipeline.storage.base_path import BasePath
from pipeline.storage.completeness import CompleteWhen, Completion
from pipeline.storage.local_folder import LocalFolder
from pipeline.storage.path_source import NOTIFIED_POLL_INTERVAL_S, PathSource
from tests.waiting import wait_for

DEADLINE_S = 20.0
AT_ONCE = Completion(quiet_period_s=0.0)
MARKED = Completion(CompleteWhen.MARKER, "_SUCCESS")


def put(folder: Path, name="1", content="weights", file="model.bin"):
    path = folder / name / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


class Records:
    def __init__(self):
        self.all = []

    def __call__(self, record):
        self.all.append(record)

    def of(self, stream):
        return [[version.version for version in record.versions] for record in self.all if record.stream == stream]


class Gate:
    """A mount that hangs until it is opened."""

    def __init__(self, *streams):
        self.streams, self.opened, self.entered = streams, threading.Event(), threading.Event()

    def folder_of(self, base):
        gate = self

        class Hanging(LocalFolder):
            def children(self):
                gate.entered.set()
                assert gate.opened.wait(DEADLINE_S * 2)
                return super().children()

        return (Hanging if base.stream in self.streams else LocalFolder)(base.path)


@pytest.fixture
def storage_threads():
    """Count the threads that look at storage; those of an earlier test that end late are none of them."""
    before = set(threading.enumerate())
    return lambda: sum(it.name == "penstock-storage" and it not in before for it in threading.enumerate())


@pytest.fixture
def start(request):
    def start(bases, publish, folder_of=lambda base: LocalFolder(base.path), **more):
        source = PathSource(bases, folder_of, SystemClock(), publish, **more)
        request.addfinalizer(source.stop)
        source.start()
        return source

    return start


def base_of(root, stream, **more):
    return BasePath(stream, str(root / stream), **{"completion": AT_ONCE, "poll_interval_s": 0.02, **more})


def test_base_paths_that_hang_delay_no_other_are_reported_once_and_recover(
    tmp_path, start, request, caplog, storage_threads
):
    hung = [f"hung{number}" for number in range(5)]
    for stream in (*hung, "ok"):
        put(tmp_path / stream)
    gate, records = Gate(*hung), Records()
    request.addfinalizer(gate.opened.set)
    bases = [base_of(tmp_path, stream) for stream in (*hung, "ok")]
    start(bases, records, gate.folder_of, patience_s=0.02, hung_after_s=0.2)
    wait_for("the good stream", lambda: records.of("ok") == [[1]])
    put(tmp_path / "ok", "2")
    wait_for("the good stream, again", lambda: records.of("ok") == [[1], [2]])
    wait_for("a word for each", lambda: caplog.text.count("takes longer") == 5)
    put(tmp_path / "ok", "3")
    wait_for("a third time", lambda: records.of("ok")[-1] == [3])
    assert caplog.text.count("takes longer") == 5
    gate.opened.set()
    wait_for("those that have recovered", lambda: all(records.of(stream) == [[1]] for stream in hung))
    wait_for("a word about it", lambda: caplog.text.count("has ended, after") == 5)
    wait_for("the threads that were left behind have ended", lambda: storage_threads() == 2)


def test_a_hung_stream_that_is_given_another_base_path_is_served_from_there(tmp_path, start, request):
    gate, records = Gate("old"), Records()
    request.addfinalizer(gate.opened.set)
    put(tmp_path / "old")
    put(tmp_path / "new", "2")
    old = base_of(tmp_path, "old")
    source = start([old], records, gate.folder_of, patience_s=0.02)
    assert gate.entered.wait(DEADLINE_S)
    gate.streams = ()
    source.set_base_paths([BasePath("old", str(tmp_path / "new"), completion=AT_ONCE, poll_interval_s=0.02)])
    wait_for("the new place", lambda: records.of("old") == [[2]])
    gate.opened.set()
    put(tmp_path / "new", "3")
    wait_for("and nothing from the old one", lambda: records.of("old") == [[2], [3]])


def test_a_stream_that_is_removed_while_it_hangs_ends_with_the_empty_set(tmp_path, start, request, storage_threads):
    gate, records = Gate("m"), Records()
    request.addfinalizer(gate.opened.set)
    put(tmp_path / "m")
    put(tmp_path / "ok")
    source = start([base_of(tmp_path, "m"), base_of(tmp_path, "ok")], records, gate.folder_of, patience_s=0.02)
    assert gate.entered.wait(DEADLINE_S)
    source.set_base_paths([base_of(tmp_path, "ok")])
    wait_for("the empty set", lambda: records.of("m") == [[]])
    gate.opened.set()
    wait_for("the look that hung has ended", lambda: storage_threads() == 2)
    put(tmp_path / "ok", "2")
    wait_for("the other one goes on", lambda: records.of("ok")[-1:] == [[2]])
    assert records.of("m") == [[]]


def test_a_broker_that_is_away_stops_no_look_and_gets_the_last_set_of_each_stream(tmp_path, start):
    looked, records, is_away = threading.Event(), Records(), threading.Event()
    is_away.set()

    def publish(record):
        if is_away.is_set():
            raise ConnectorError("Kafka", "is away")
        records(record)

    class Folder(LocalFolder):
        def children(self):
            names = list(super().children())
            if "2" in names:
                looked.set()
            return names

    put(tmp_path / "m")
    put(tmp_path / "n")
    start([base_of(tmp_path, "m"), base_of(tmp_path, "n")], publish, lambda base: Folder(base.path))
    put(tmp_path / "m", "2")
    assert looked.wait(DEADLINE_S)
    is_away.clear()
    wait_for("the last set", lambda: records.of("m")[-1:] == [[2]])
    wait_for("the neighbour's", lambda: records.of("n") == [[1]])


def test_a_thousand_base_paths_are_looked_at_by_two_threads(tmp_path, start, storage_threads):
    streams = [f"s{number}" for number in range(1000)]
    for stream in streams:
        put(tmp_path / stream)
    records = Records()
    start([base_of(tmp_path, stream, poll_interval_s=0.5) for stream in streams], records)
    wait_for("all published", lambda: len(records.all) == 1000)
    for stream in streams:
        put(tmp_path / stream, "2")
    wait_for("all published again", lambda: len(records.all) == 2000)
    wait_for("no thread for each", lambda: storage_threads() == 2)


def notified(source, stream):
    watch = source._watches[stream]
    return source._notifier.want(watch, watch.folder.directories())


@pytest.fixture
def told(tmp_path, start):
    """A source that polls so seldom that what is seen was told by the kernel."""
    records = Records()

    def folder_of(base):
        return LocalFolder(base.path, can_notify=lambda _: True)

    def begin(*streams, **more):
        bases = [base_of(tmp_path, stream, **{"poll_interval_s": 3600.0, **more}) for stream in streams]
        return start(bases, records, folder_of, notifies=True), records

    return begin


@pytest.fixture(autouse=True)
def no_safety_net(monkeypatch):
    monkeypatch.setattr("pipeline.storage.path_source.NOTIFIED_POLL_INTERVAL_S", 3600.0)
    assert NOTIFIED_POLL_INTERVAL_S <= 20


def test_a_drop_is_told_by_the_kernel(tmp_path, told):
    put(tmp_path / "m")
    source, records = told("m")
    wait_for("watched", lambda: records.of("m") == [[1]] and notified(source, "m"))
    (tmp_path / "away").mkdir()
    put(tmp_path / "away", "2").parent.rename(tmp_path / "m" / "2")
    wait_for("a rename", lambda: records.of("m")[-1] == [2])
    (tmp_path / "m" / "2").rename(tmp_path / "m" / "2.denied")
    wait_for("a rename away", lambda: records.of("m")[-1] == [1])


def test_a_marker_that_is_written_into_a_version_is_told_by_the_kernel(tmp_path, told):
    (tmp_path / "m").mkdir()
    source, records = told("m", completion=MARKED)
    wait_for("the base path is watched", lambda: notified(source, "m"))
    put(tmp_path / "m", "1", file="deep/er/model.bin")
    wait_for(
        "the version is watched", lambda: len(source._watches["m"].folder.directories()) == 4 and notified(source, "m")
    )
    put(tmp_path / "m", "1", "", "_SUCCESS")
    wait_for("the marker", lambda: records.of("m")[-1:] == [[1]])
    before = records.all[-1].versions[0].digest
    put(tmp_path / "m", "1", "other", "deep/er/model.bin")
    wait_for("a change of content, when the quiet period is over", lambda: records.all[-1].versions[0].digest != before)


def test_the_end_of_a_quiet_period_is_not_left_to_the_next_poll(tmp_path, told):
    (tmp_path / "m").mkdir()
    source, records = told("m", completion=Completion(quiet_period_s=0.2))
    wait_for("watched", lambda: notified(source, "m"))
    put(tmp_path / "m")
    wait_for("quiet", lambda: records.of("m")[-1:] == [[1]])


def test_streams_that_come_later_and_base_paths_that_are_made_anew_are_watched_too(tmp_path, told):
    put(tmp_path / "m")
    put(tmp_path / "n")
    source, records = told("m", poll_interval_s=0.02)
    wait_for("watched", lambda: records.of("m") == [[1]] and notified(source, "m"))
    (tmp_path / "m").rename(tmp_path / "gone")
    put(tmp_path / "m", "2")
    wait_for("made anew", lambda: records.of("m")[-1] == [2] and notified(source, "m"))
    put(tmp_path / "m", "3")
    wait_for("seen in the new one", lambda: records.of("m")[-1] == [3])
    source.set_base_paths([base_of(tmp_path, stream, poll_interval_s=3600.0) for stream in "mn"])
    wait_for("the later one is watched", lambda: records.of("n") == [[1]] and notified(source, "n"))
    put(tmp_path / "n", "2")
    wait_for("seen in the later one", lambda: records.of("n")[-1] == [2])


def test_where_the_kernel_refuses_polling_goes_on(tmp_path, told, monkeypatch, caplog):
    def refuse(*_args, **_more):
        raise OSError(28, "inotify watch limit reached")

    monkeypatch.setattr("watchfiles._rust_notify.RustNotify", refuse)
    put(tmp_path / "m")
    _, records = told("m", poll_interval_s=0.02)
    wait_for("a word", lambda: "by polling alone" in caplog.text)
    put(tmp_path / "m", "2")
    wait_for("polled", lambda: records.of("m")[-1:] == [[2]])


def test_it_stops_promptly_whatever_it_is_doing(tmp_path, told):
    put(tmp_path / "m")
    source, records = told("m")
    wait_for("watched", lambda: records.of("m") == [[1]] and notified(source, "m"))
    began_s = time.monotonic()
    source.stop(DEADLINE_S)
    assert time.monotonic() - began_s < DEADLINE_S / 2
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("penstock-")]


def test_a_thousand_idle_streams_cost_next_to_nothing(tmp_path, told):
    streams = [f"s{number}" for number in range(1000)]
    for stream in streams:
        put(tmp_path / stream)
    source, records = told(*streams)
    wait_for("all published", lambda: len(records.all) == 1000)
    wait_for("all watched", lambda: all(notified(source, stream) for stream in streams))

    def is_idle():
        with source._polls._changed:
            return not source._polls._under_way and min(source._polls._due.values()) > time.monotonic() + 600

    put(tmp_path / "s7", "2")  # when this has been told, all that was told before it has been dealt with
    wait_for("a change", lambda: records.of("s7")[-1] == [2] and notified(source, "s7"))
    wait_for("nothing to do for minutes", is_idle)
    looks = []
    source._polls._look = lambda key: looks.append(key) or 3600.0
    put(tmp_path / "s7", "3")
    wait_for("a look at what has changed", lambda: looks)
    assert {watch.base.stream for watch in looks} == {"s7"}


def test_a_key_that_was_slow_is_left_behind_from_the_start():
    order, slow = [], threading.Event()

    def look(key):
        order.append(key)
        if key == "slow" and order.count("slow") < 3:
            slow.wait(0.05)
        return 0.001 if key == "slow" else 0.002

    polling = polls.Polls(look, patience_s=0.01)
    polling.add("slow")
    polling.add("fast")
    polling.start()
    wait_for("both go on", lambda: order.count("slow") > 5 and order.count("fast") > 5)
    polling.stop(DEADLINE_S)
    assert not polling._threads
