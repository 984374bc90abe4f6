"""The parts of the Redis connector that need no Redis: ids, held entries, pauses, parts of a batch, limits."""

from __future__ import annotations

from pathlib import Path

import pytest

from connectors.redis import delivery
from connectors.redis.backoff import Backoff
from connectors.redis.entries import PlainEntries
from connectors.redis.held import Held
from connectors.redis.record import record_of
from pipeline import redis_wire, settings
from pipeline.connector import Answer
from pipeline.errors import InvalidSettings
from pipeline.settings import RedisRouteSettings, RouteSettings
from pipeline.testing.fakes import FakeClock


def record(entry_id: bytes = b"1796000000000-3"):
    return record_of("q", entry_id, (), b"v")


@pytest.mark.parametrize(
    ("entry_id", "expected"),
    [
        (b"1796000000000-3", (1_796_000_000_000, 3, 1_796_000_000_000)),
        (b"5-1", (5, 1, 0)),  # somebody's own number, and no time
        (b"18446744073709551615-18446744073709551615", (2**63 - 1, 2**31 - 1, 2**63 - 1)),
    ],
)
def test_the_id_of_an_entry_is_the_place_of_its_record(entry_id: bytes, expected: tuple[int, int, int]) -> None:
    found = record(entry_id)
    assert (found.offset, found.partition, found.timestamp_ms) == expected


def test_what_is_written_is_read_again() -> None:
    headers = [("a", b"1"), ("b", b"\xff"), ("a", b"2")]
    fields = redis_wire.fields_of(b"v", b"k", [*headers, ("none", None)])
    assert redis_wire.read(fields) == (b"v", b"k", headers, "")


def test_an_entry_without_a_value_has_an_empty_one() -> None:
    assert redis_wire.read([b"a", b"1"]) == (b"", None, [("a", b"1")], "")


def test_a_hash_that_stays_for_ever_is_given_no_end() -> None:
    route = RouteSettings(request_topic="q", result_topic="r", redis=RedisRouteSettings(result_ttl_s=0))
    commands = PlainEntries(route, FakeClock()).commands(record(), Answer(b"v", None, [("h", b"x")], "elsewhere"))
    assert commands == [("HSET", b"elsewhere:1796000000000-3", b"value", b"v", b"h", b"x")]


def test_entries_that_were_answered_are_held_no_more() -> None:
    held = Held()
    held.add([b"1", b"2"])
    held.add([b"3"], 2)
    held.drop([b"1", b"unknown"])
    assert held.by_deaths() == {0: [b"2"], 2: [b"3"]}
    assert held.without([b"2", b"4"]) == [b"4"]
    assert held.wait_until_at_most(2, 0)
    assert not held.wait_until_at_most(1, 0)


def test_pauses_grow_to_two_seconds_and_begin_anew() -> None:
    now_s = [0.0]
    backoff = Backoff(lambda: now_s[0])
    assert (backoff.is_waiting, backoff.left_s()) == (False, 0.0)
    pauses = []
    for _ in range(8):
        backoff.failed()
        pauses.append(backoff.left_s())
    assert 0.05 <= pauses[0] <= 0.0625
    assert pauses[1] > pauses[0]
    assert 2.0 <= pauses[-1] <= 2.5
    now_s[0] += 3
    assert backoff.is_waiting
    assert backoff.left_s() < 0
    backoff.succeeded()
    assert not backoff.is_waiting


def test_a_batch_is_written_in_parts_that_are_not_too_long_and_not_too_large() -> None:
    def items(*sizes: int):
        return [(record(), Answer(b"x" * size, None, ())) for size in sizes]

    sizes = [[len(answer.value) for _, answer in part] for part in delivery._parts(items(*[1] * 1025))]
    assert [len(part) for part in sizes] == [512, 512, 1]
    million = 1024 * 1024
    sizes = [
        [len(answer.value) for _, answer in part]
        for part in delivery._parts(items(9 * million, 5 * million, 4 * million, 1))
    ]
    assert sizes == [[9 * million], [5 * million], [4 * million, 1]]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"redis": {"url": "kafka://a"}}, r"redis\.url: expected a URL"),
        ({"redis": {"url": "redis://a", "ca": "ca.pem"}}, "no effect without TLS"),
        ({"redis": {"url": "rediss://a", "cert": "c.pem"}}, "cert and key belong together"),
        ({"redis": {"url": "redis://a", "timeout_s": 0}}, r"redis\.timeout_s"),
        ({"redis": {"url": "redis://a", "password": 83}}, "Expected `str`"),
        ({"routes": {"m": {"redis": {"results": "list"}}}}, "'list' is not hash or stream"),
        ({"routes": {"m": {"redis": {"claim_after_s": 0}}}}, "claim_after_s"),
        ({"routes": {"m": {"redis": {"max_length": -1}}}}, "max_length"),
        ({"routes": {"m": {"request_topic": "{m}.q"}}}, "not a name"),
        ({"routes": {"m": {"connector": "redis", "request_topic": "{m}.q}"}}}, "not a name"),
    ],
)
def test_a_mistake_in_what_is_said_of_redis_is_an_error_that_names_it(tmp_path: Path, overrides, words: str) -> None:
    (tmp_path / "penstock.yaml").write_text("servables: {m: {base_path: m}}\nroutes: {m: {}}\n")
    with pytest.raises(InvalidSettings, match=words):
        settings.load(tmp_path / "penstock.yaml", {}, overrides)


def test_names_in_a_cluster_have_a_hash_tag_and_secrets_are_not_shown(tmp_path: Path) -> None:
    route = {"connector": "redis", "request_topic": "{m}.q", "result_topic": "{m}.r"}
    redis = {"url": "rediss+cluster://me:opensesame@a", "password": "${env:PASSWORD}"}
    (tmp_path / "penstock.yaml").write_text("servables: {m: {base_path: m}}\n")
    overrides = {"routes": {"m": route}, "redis": redis}
    found = settings.load(tmp_path / "penstock.yaml", {"PASSWORD": "very-secret"}, overrides)
    assert found.redis.password == "very-secret"
    assert found.routes["m"].dead_letter_topic == "{m}.q-dlt"
    assert not [secret for secret in ("very-secret", "opensesame") if secret in repr(found)]
