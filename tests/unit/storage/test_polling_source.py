"""A source of one method: what it tells, when, and what it does when the method or its listener fails."""

from __future__ import annotations

import logging

import pytest

from pipeline.errors import ConnectorError
from pipeline.records import AspiredVersion, AspiredVersions
from pipeline.registry.servable import ServableId
from pipeline.registry.source import connect
from pipeline.settings import StreamSettings
from pipeline.storage.polling import PollingSource


class Live(PollingSource):
    """Sees what ``live`` says of each setting; an exception there is raised."""

    def __init__(self, live, publish=None):
        super().__init__({name: StreamSettings(base_path=f"/{name}") for name in live}, publish)
        self.live = live

    def look(self, name, stream):
        seen = self.live[name]
        if isinstance(seen, Exception):
            raise seen
        return [aspired(it, *numbers, kind=stream.kind) for it, numbers in seen.items()]


def aspired(stream, *numbers, kind=None):
    return AspiredVersions(stream, tuple(AspiredVersion(n, f"/{stream}/{n}", f"sha256:{n}") for n in numbers), kind)


class Sink:
    def __init__(self):
        self.calls = []

    def set_aspired(self, stream, items, labels, generation):
        self.calls.append((stream, items, dict(labels), generation))

    def forget(self, stream, generation):
        raise AssertionError("a source of a topic's kind forgets nothing")


def test_a_set_is_told_when_it_changes():
    told = []
    source = Live({"a": {"a": (1,)}}, told.append)
    source.step()
    source.step()
    source.live["a"] = {"a": (1, 2)}
    source.step()
    assert told == [aspired("a", 1), aspired("a", 1, 2)]


def test_a_stream_that_is_not_found_any_more_is_unloaded_once_and_can_come_back():
    told = []
    source = Live({"root": {"a": (1,), "b": (2,)}}, told.append)
    for seen in ({"a": (1,), "b": (2,)}, {"b": (2,)}, {"b": (2,)}, {}, {"a": (1,)}):
        source.live["root"] = seen
        source.step()
    assert told == [aspired("a", 1), aspired("b", 2), aspired("a"), aspired("b"), aspired("a", 1)]


def test_streams_are_added_and_removed_at_run_time_and_those_that_stay_see_nothing():
    told = []
    source = Live({"a": {"a": (1,)}, "b": {"b": (2,)}}, told.append)
    source.step()
    source.live["c"] = {"c": (3,)}
    source.update({name: StreamSettings(base_path=f"/{name}") for name in ("b", "c")})
    source.step()
    source.step()
    assert told[2:] == [aspired("c", 3), aspired("a")]


def test_an_unload_that_was_refused_is_told_again():
    told = []

    def publish(record):
        if len(told) == 1 and not record.versions:
            told.append("refused")
            raise ConnectorError("broker", "away")
        told.append(record)

    source = Live({"a": {"a": (1,)}}, publish)
    source.step()
    source.live["a"] = {}
    for _ in range(3):
        source.step()
    assert told == [aspired("a", 1), "refused", aspired("a")]


def test_one_look_that_fails_delays_no_other_and_is_logged_when_it_begins(caplog):
    told = []
    source = Live({"a": OSError("away"), "b": {"b": (1,)}}, told.append)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            source.step()
        source.live["a"] = {"a": (1,)}
        source.step()
        source.live["a"] = OSError("away")
        source.step()
    assert told == [aspired("b", 1), aspired("a", 1)]
    assert [line for line in caplog.messages if "away" in line] == 2 * [
        "servable stream a: nothing is known of its versions: OSError: away"
    ]


def test_a_broker_that_is_away_is_logged_once(caplog):
    def publish(record):
        raise ConnectorError("broker", "away")

    source = Live({"a": {"a": (1,)}}, publish)
    for _ in range(3):
        source.step()
    assert caplog.messages == ["servable stream a: its versions are not published yet: ConnectorError: broker: away"]


def test_a_bug_in_a_look_is_logged_with_its_place(caplog):
    Live({"a": ZeroDivisionError("bug")}).step()
    [record] = caplog.records
    assert record.exc_info is not None


def test_a_target_gets_paths_with_all_that_is_known_of_them():
    sink, source = Sink(), Live({"a": {"a": (3,)}})
    connect(source, sink)
    source.step()
    [(stream, [item], labels, generation)] = sink.calls
    assert (stream, labels, generation) == ("a", {}, -1)
    assert (item.id, item.data, item.path, item.digest) == (ServableId("a", 3), "/a/3", "/a/3", "sha256:3")
    with pytest.raises(RuntimeError, match="already"):
        connect(source, Sink())


def test_labels_travel_with_their_versions():
    sink = Sink()

    class Labelled(Live):
        def look(self, name, stream):
            return [AspiredVersions(name, (AspiredVersion(1, "/a/1"),), None, {"stable": 1})]

    source = Labelled({"a": {}})
    connect(source, sink)
    source.step()
    assert sink.calls[0][2] == {"stable": 1}
