"""The control logs in Redis: what is Redis's alone. What both brokers promise is in test_control_logs.py."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import redis as redis_py

from pipeline.clock import SystemClock
from pipeline.control import redis_log, redis_streams
from pipeline.control.fleet import read_fleet
from pipeline.control.logs import read_all
from pipeline.control.redis_outbox import RedisOutbox
from pipeline.control.states import StatePublisher
from pipeline.control.topic_reports import findings
from pipeline.errors import AccessDenied, ConnectorError
from pipeline.local.redis import LocalRedis
from pipeline.records import ServableState, State
from pipeline.settings import ControlSettings, RedisSettings, Settings
from tests.integration.control_places import DEADLINE_S, Place
from tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCS = Path(__file__).parents[2] / "docs" / "redis.md"
# What it says that the user of a worker needs for the control logs.
[CONTROL_ACL] = [line for line in DOCS.read_text().splitlines() if line.startswith("user control on ")]


@pytest.fixture
def place(redis: Any) -> Place:
    return Place("redis", redis.url)


@pytest.fixture
def server(redis: Any) -> Iterator[Any]:
    client = redis_py.Redis.from_url(redis.url)
    yield client
    client.close()


def test_a_log_of_states_holds_the_last_of_each_key_and_no_more(place: Place, server: Any, topic_name: str) -> None:
    publisher = StatePublisher(place.logs, topic_name, "w-1", SystemClock())
    publisher.recovered([])
    for _ in range(20):
        publisher(ServableState("", "digits", 1, State.LOADING))
        publisher(ServableState("", "digits", 1, State.AVAILABLE))
        assert publisher.flush(DEADLINE_S)
    publisher.close()
    assert server.xlen(topic_name) == 1


def test_what_was_superseded_and_what_was_forgotten_leaves_when_its_time_has_come(
    server: Any, topic_name: str, monkeypatch: Any
) -> None:
    for number in range(3):
        redis_log.write_to(server, topic_name, b"k", b"%d" % number, superseded_ms=3_600_000)
    assert server.xlen(topic_name) == 3
    _, last, superfluous = redis_log.keys_of(topic_name)
    for member in server.zrange(superfluous, 0, -1):  # as if the hour were over
        server.zadd(superfluous, {member: 1})
    monkeypatch.setattr(redis_log, "_TOMBSTONE_MS", 0)
    redis_log.write_to(server, topic_name, b"gone", b"v", superseded_ms=0)
    redis_log.write_to(server, topic_name, b"gone", None, superseded_ms=0)
    redis_log.write_to(server, topic_name, b"other", b"v", superseded_ms=0)
    assert [fields for _, fields in server.xrange(topic_name)] == [
        {b"key": b"k", b"value": b"2"},
        {b"key": b"other", b"value": b"v"},
    ]
    assert set(server.hgetall(last)) == {b"k", b"other"}
    assert server.zcard(superfluous) == 0


def test_generations_go_on_where_all_records_have_left(place: Place, server: Any, topic_name: str) -> None:
    writer = place.logs.writer(topic_name, "w")
    assert writer.write(b"k", b"v", DEADLINE_S) == 0
    for entry_id, _ in server.xrange(topic_name):
        server.xdel(topic_name, entry_id)
    assert writer.write(b"k", b"v", DEADLINE_S) == 1
    writer.close(1)


def test_a_log_that_was_emptied_is_followed_from_its_new_beginning(topic_name: str, monkeypatch: Any) -> None:
    monkeypatch.setattr("pipeline.control.redis_log_reader._LOOK_S", 0.05)
    with LocalRedis() as local:
        place, seen = Place("redis", local.url), []

        def on_record(_key: bytes | None, value: bytes | None, _partition: int, offset: int) -> None:
            seen.append((value, offset))

        reader = place.logs.reader(topic_name, "r", on_record=on_record, on_fatal=print)
        writer = place.logs.writer(topic_name, "w")
        for number in range(3):
            writer.write(b"k", b"%d" % number, DEADLINE_S)
        reader.start()
        assert reader.caught_up.wait(DEADLINE_S)
        redis_py.Redis.from_url(local.url).flushall()
        assert writer.write(b"k", b"new", DEADLINE_S) == 0
        wait_for("the record of the new log", lambda: (b"new", 0) in seen)
        reader.stop()
        writer.close(1)
    assert seen == [(b"0", 0), (b"1", 1), (b"2", 2), (b"new", 0)]


def test_a_key_that_is_no_log_is_fatal_and_named(place: Place, server: Any, topic_name: str) -> None:
    server.set(topic_name, "a text")
    with pytest.raises(ConnectorError, match="WRONGTYPE"):
        read_all(place.logs, topic_name)
    with pytest.raises(ConnectorError, match="WRONGTYPE"):
        place.logs.writer(topic_name, "w").write(b"k", b"v", DEADLINE_S)
    control = ControlSettings(connector="redis", aspired_topic=topic_name, states_topic=f"{topic_name}.s")
    settings = Settings(redis=place.settings.redis, control=control)
    found = [finding for finding in findings(settings) if finding.topic == topic_name]
    assert [(finding.is_dangerous, "holds a string" in finding.reason) for finding in found] == [(True, True)]


def test_a_user_with_the_documented_rights_can_do_everything_and_one_without_is_told(caplog: Any) -> None:
    with LocalRedis(config=[CONTROL_ACL, "user nobody on >secret ~* +client|setname +ping"]) as local:
        place = Place("redis", local.url)
        allowed = {**as_dict(place.settings.redis), "username": "control", "password": "secret"}
        settings = Settings(redis=RedisSettings(**allowed), control=ControlSettings(connector="redis"))
        worker = type(place.logs)(settings.redis)
        writer = worker.writer("penstock.aspired-versions", "w")
        assert writer.write(b"k", b"v", DEADLINE_S) == 0
        assert writer.write(b"k", None, DEADLINE_S) == 1
        assert writer.write(b"l", b"v", DEADLINE_S) == 2
        writer.close(1)
        assert read_all(worker, "penstock.aspired-versions") == {b"l": b"v"}
        publisher = StatePublisher(worker, "penstock.servable-states", "w-1", SystemClock())
        publisher.recovered([])
        publisher(ServableState("", "digits", 1, State.AVAILABLE))
        assert publisher.flush(DEADLINE_S)
        publisher.close()
        assert redis_streams.inspect(settings)
        nobody = type(place.logs)(RedisSettings(**{**allowed, "username": "nobody"}))
        with pytest.raises(AccessDenied, match="lacks a permission"):
            read_all(nobody, "penstock.aspired-versions")
        with pytest.raises(AccessDenied, match="lacks a permission"):
            nobody.writer("penstock.aspired-versions", "w").write(b"k", b"v", DEADLINE_S)


def test_states_that_redis_refuses_are_kept_and_written_when_it_takes_them(caplog: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("pipeline.control.redis_outbox._LASTING_RETRY_S", 0.05)
    with LocalRedis(config=["user worker on >secret +client|setname +ping"]) as local:
        place = Place("redis", local.url)
        refused = {**as_dict(place.settings.redis), "username": "worker", "password": "secret"}
        publisher = StatePublisher(
            type(place.logs)(RedisSettings(**refused)), "penstock.servable-states", "w-1", SystemClock()
        )
        publisher.recovered([])
        with caplog.at_level(logging.WARNING):
            for version in (1, 2):
                publisher(ServableState("", "digits", version, State.LOADING))
                assert not publisher.flush(0.2)
            publisher(ServableState("", "digits", 1, State.AVAILABLE))
            rights = CONTROL_ACL.partition(">secret ")[2].split()
            redis_py.Redis.from_url(local.url).execute_command("ACL SETUSER", "worker", *rights)
            assert publisher.flush(DEADLINE_S)
            wait_for("the good news", lambda: "states are published again" in caplog.records[-1].message)
        publisher.close()
        said = [record.message for record in caplog.records]
        assert len([text for text in said if "lacks a permission" in text]) == 1
        found = {(state.version, state.state) for state in read_fleet(place.logs, "penstock.servable-states").states}
        assert found == {(1, State.AVAILABLE), (2, State.LOADING)}


def test_an_outbox_that_redis_refuses_closes_at_once(monkeypatch: Any) -> None:
    monkeypatch.setattr("pipeline.control.redis_outbox._LASTING_RETRY_S", 3600.0)
    with LocalRedis(config=["user worker on >secret ~* +client|setname"]) as local:
        settings = RedisSettings(url=local.url, username="worker", password="secret")
        outbox = RedisOutbox(settings, "states", "w-1", lambda _key: None)
        outbox.send(b"k", b"v")
        wait_for("the refusal", lambda: outbox._problem)
        outbox.close()
        outbox._thread.join(DEADLINE_S)
        assert not outbox._thread.is_alive()


def as_dict(settings: RedisSettings) -> dict[str, Any]:
    return {name: getattr(settings, name) for name in settings.__struct_fields__}
