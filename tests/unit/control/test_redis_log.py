"""What a reader of a log in Redis delivers, and what is wrong with a server. Pure."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.control import redis_log
from pipeline.control.redis_log import Entry, Position
from pipeline.control.redis_streams import _of_server, wanted
from pipeline.control.topics import Role
from pipeline.settings import ControlSettings, RedisRouteSettings, RouteSettings, Settings


def entry(generation: int, key: str, time_ms: int = 1) -> Entry:
    return Entry((generation, time_ms), key.encode(), b"%d" % generation)


def test_what_was_seen_is_not_delivered_again() -> None:
    position = Position()
    first = [entry(0, "a"), entry(1, "b")]
    assert position.take_all(first) == first
    assert position.take_all(first) == []
    assert position.take([*first, entry(2, "a")]) == [entry(2, "a")]
    assert position.take_all([entry(1, "b"), entry(2, "a")]) == []


def test_everything_that_came_during_an_outage_is_delivered_in_order() -> None:
    position = Position()
    position.take([entry(0, "a")])
    meanwhile = [entry(1, "a"), entry(2, "a"), entry(3, "b")]
    assert position.take_all([entry(0, "a"), *meanwhile]) == meanwhile


def test_a_record_that_a_failover_has_lost_gives_way_to_the_one_that_stands() -> None:
    position = Position()
    position.take([entry(0, "a"), entry(1, "b"), entry(2, "a", time_ms=5)])
    assert position.take_all([entry(0, "a"), entry(1, "b")]) == [entry(0, "a")]
    assert position.last == (1, 1)
    assert position.take([entry(2, "b", time_ms=9)]) == [entry(2, "b", time_ms=9)]


def test_a_log_that_begins_anew_is_delivered_by_its_last_records() -> None:
    position = Position()
    position.take([entry(7, "a"), entry(8, "b")])
    anew = [entry(0, "a", 9), entry(1, "a", 9), entry(2, "c", 9)]
    assert position.take_all(anew) == anew[1:]
    assert position.take_all([]) == []
    assert position.last == (-1, -1)


def test_entries_without_a_key_are_nobodys() -> None:
    whole = {b"key": b"k", b"value": b"v"}
    found = redis_log.entries_of([(b"0-5", {b"x": b"y"}), (b"1-5", {b"key": b"k"}), (b"2-5", whole)])
    assert found == [Entry((1, 5), b"k", None), Entry((2, 5), b"k", b"v")]


@pytest.mark.parametrize(("topic", "keys"), [("a.b", ("a.b", "{a.b}:last")), ("{a}.b", ("{a}.b", "{a}.b:last"))])
def test_the_keys_of_a_log_have_one_slot(topic: str, keys: tuple[str, str]) -> None:
    assert redis_log.keys_of(topic)[:2] == keys


@pytest.mark.parametrize(
    ("facts", "found"),
    [
        ({}, []),
        ({"redis_version": "7.0.15", "maxmemory_policy": "noeviction", "aof_enabled": 1}, []),
        ({"redis_version": "6.0.9"}, [("6.2 or later", True, True)]),
        ({"maxmemory_policy": "allkeys-lru"}, [("noeviction", True, True)]),
        ({"maxmemory_policy": "volatile-ttl"}, [("noeviction", False, False)]),
        ({"aof_enabled": 0}, [("appendonly yes", False, False)]),
    ],
)
def test_a_server_that_would_lose_something_is_named_with_the_next_step(
    facts: dict[str, Any], found: list[tuple[str, bool, bool]]
) -> None:
    findings = list(_of_server("Redis at h", facts))
    assert [(it.is_problem, it.is_dangerous) for it in findings] == [(problem, danger) for _, problem, danger in found]
    for finding, (step, _, _) in zip(findings, found, strict=True):
        assert step in finding.next_step


def test_only_what_is_in_redis_is_wanted_of_it() -> None:
    route = RouteSettings(connector="redis", request_topic="q", result_topic="r", dead_letter_topic="d")
    settings = Settings(
        control=ControlSettings(connector="redis"), routes={"a": route, "k": RouteSettings(request_topic="kafka")}
    )
    assert {spec.name: spec.role for spec in wanted(settings)} == {
        "q": Role.REQUESTS,
        "d": Role.DEAD_LETTERS,
        "penstock.aspired-versions": Role.ASPIRED,
        "penstock.servable-states": Role.STATES,
    }
    in_stream = RouteSettings(
        connector="redis",
        request_topic="q",
        result_topic="r",
        dead_letter_topic="d",
        redis=RedisRouteSettings(results="stream"),
    )
    settings = Settings(control=ControlSettings(connector="kafka"), routes={"a": in_stream})
    assert {spec.name for spec in wanted(settings)} == {"q", "r", "d"}
