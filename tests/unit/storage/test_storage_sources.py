"""All sources of a deployment as one: a change of settings reaches those whom it concerns, and no others."""

from __future__ import annotations

from types import SimpleNamespace
from typing import ClassVar

import pytest

from pipeline import plugins
from pipeline.errors import ConnectorError, PluginError
from pipeline.records import AspiredVersion, AspiredVersions
from pipeline.settings import Settings, StreamSettings, WatchSettings
from pipeline.storage.base_path import BasePath
from pipeline.storage.completeness import CompleteWhen
from pipeline.storage.outbox import Outbox
from pipeline.storage.sources import Sources


class Source:
    """Publishes version 1 of what it has, and the empty set of what it has no more."""

    made: ClassVar[list[Source]] = []

    @classmethod
    def from_settings(cls, streams, _watch, publish):
        source = cls()
        source.streams, source.publish, source.is_started = dict(streams), publish, False
        Source.made.append(source)
        return source

    def update(self, streams):
        for name in set(self.streams) - set(streams):
            self.publish(AspiredVersions(name))
        self.streams = dict(streams)

    def step(self):
        for name in self.streams:
            self.publish(AspiredVersions(name, (AspiredVersion(1, "p"),)))

    def start(self):
        self.is_started = True

    def stop(self, timeout_s=5.0):
        self.is_started = False


class Fixed(Source):
    update = None

    def __getattribute__(self, name):
        if name == "update":
            raise AttributeError(name)
        return super().__getattribute__(name)


@pytest.fixture
def records(monkeypatch):
    Source.made.clear()
    find = plugins.find
    kinds = {"one": Source, "two": Source, "fixed": Fixed}
    monkeypatch.setattr(plugins, "find", lambda group, name: kinds.get(name) or find(group, name))
    return []


def settings_with(**storages):
    return Settings(servables={name: StreamSettings(base_path="/m", storage=kind) for name, kind in storages.items()})


def told(records):
    return [(record.stream, len(record.versions)) for record in records]


def test_a_stream_that_moves_to_another_storage_is_never_unloaded_in_between(records):
    sources = Sources(settings_with(a="one", b="one"), records.append)
    sources.start()
    sources.update(settings_with(a="two", c="one"))
    assert all(source.is_started for source in Source.made)
    sources.step()
    assert told(records) == [("b", 0), ("c", 1), ("a", 1)]
    sources.stop()
    assert not any(source.is_started for source in Source.made)


def test_a_storage_that_is_not_installed_changes_nothing(records):
    sources = Sources(settings_with(a="one"), records.append)
    with pytest.raises(PluginError):
        sources.update(settings_with(b="one", c="nowhere"))
    sources.step()
    assert told(records) == [("a", 1)]


def test_a_source_that_can_not_change_keeps_its_streams_and_says_so(records, caplog):
    sources = Sources(settings_with(a="fixed"), records.append)
    sources.update(settings_with(b="fixed"))
    assert "restart" in caplog.text
    assert list(Source.made[0].streams) == ["a"]


def test_what_a_stream_does_not_set_is_taken_from_watch():
    watch = WatchSettings(quiet_period_s=3, poll_interval_s=4)
    base = BasePath.of("m", StreamSettings(base_path="/m"), watch)
    assert (base.completion.quiet_period_s, base.poll_interval_s) == (3, 4)
    own = StreamSettings(base_path="/m", complete_when="marker", quiet_period_s=0, poll_interval_s=9, keep_last=True)
    base = BasePath.of("m", own, watch)
    assert (base.completion.when, base.completion.file) == (CompleteWhen.MARKER, "_SUCCESS")
    assert (base.completion.quiet_period_s, base.poll_interval_s, base.keep_last) == (0, 9, True)


def record(version):
    return AspiredVersions("m", (AspiredVersion(version, f"/m/{version}"),))


def test_the_outbox_publishes_the_last_record_of_a_stream_until_it_is_accepted_and_none_twice(caplog):
    published, state = [], SimpleNamespace(is_away=True)

    def publish(item):
        if state.is_away:
            raise ConnectorError("Kafka", "away")
        published.append(item.versions[0].version)

    outbox = Outbox(publish)
    outbox.put(record(1))
    assert not outbox.flush()
    outbox.put(record(2))
    assert not outbox.flush()
    assert caplog.text.count("not published yet") == 1
    state.is_away = False
    assert outbox.flush()
    outbox.put(record(2))
    assert outbox.flush()
    outbox.put(record(1))
    outbox.put(record(2))
    assert outbox.flush()
    assert published == [2]


def test_a_record_whose_fate_is_unknown_is_published_again_even_if_it_is_that_of_before():
    published, state = [], SimpleNamespace(fails=False)

    def publish(item):
        published.append(item.versions[0].version)
        if state.fails:
            raise ConnectorError("Kafka", "no acknowledgement")

    outbox = Outbox(publish)
    outbox.put(record(1))
    outbox.flush()
    state.fails = True
    outbox.put(record(2))
    outbox.flush()
    state.fails = False
    outbox.put(record(1))
    outbox.flush()
    assert published == [1, 2, 1]
