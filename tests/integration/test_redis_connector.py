"""Requests in a Redis stream: who has them, who answers, and what is left behind."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from connectors.redis import scripts
from connectors.redis.scripts import Script
from connectors.redis.server import Server
from pipeline import redis_wire
from pipeline.connector import Answer, Record
from pipeline.errors import ConnectorError, InvalidSettings
from pipeline.records import Error
from tests.integration.members import echo, wait_for
from tests.integration.redis_members import CLAIM_AFTER_S, RedisRoute, answer, attend, poll

Make = Callable[..., RedisRoute]


@pytest.fixture
def make(redis: Any, topic_name: str) -> Iterator[Make]:
    made: list[RedisRoute] = []

    def of(**settings: Any) -> RedisRoute:
        made.append(RedisRoute(redis.url, topic_name, **settings))
        return made[-1]

    yield of
    for route in made:
        route.close()


def test_what_was_sent_before_a_client_made_the_group_at_the_end_is_answered(make: Make) -> None:
    """The trap of the start order: a group that begins at `$` has never seen what stood in the stream."""
    route = make()
    route.produce([b"early"])
    route.client.xgroup_create(route.settings.request_topic, route.settings.group, "$")
    route.produce([b"late"])
    connector = route.opened("w1")
    answer(connector, poll(connector, 2))
    connector.close(5)
    assert route.results == [b"early", b"late"]


def test_a_group_that_others_read_stays_where_it_is(make: Make) -> None:
    route = make()
    route.produce([b"a"])
    first, second = route.opened("w1"), route.opened("w2")
    taken = poll(first)
    assert not second.poll(10, 0.1)
    answer(first, taken)
    first.close(5)
    second.close(5)
    assert route.results == [b"a"]


def test_an_answered_request_leaves_nothing_behind(make: Make) -> None:
    route = make()
    route.produce([b"%d" % n for n in range(10)])
    connector = route.opened("w1")
    answer(connector, poll(connector, 10))
    assert route.is_done
    connector.close(5)
    assert route.consumers == set()


def test_a_result_is_a_hash_that_expires_under_the_key_or_the_id_of_its_entry(make: Make) -> None:
    route = make(redis={"results": "hash", "result_ttl_s": 60.0})
    topic = route.settings.result_topic
    route.produce([b"named"], key=b"k1", status=b"x")
    [entry_id] = route.produce([b"unnamed"])
    connector = route.opened("w1")
    answer(connector, poll(connector, 2), lambda record: Answer(record.value, record.key, [("model", b"m")]))
    named, unnamed = redis_wire.result_key(topic, b"k1", b"1-1"), redis_wire.result_key(topic, None, entry_id)
    assert route.client.hgetall(named) == {b"value": b"named", b"model": b"m"}
    assert route.client.hgetall(unnamed) == {b"value": b"unnamed", b"model": b"m"}
    assert 0 < route.client.pttl(named) <= 60_000

    route.produce([b"again"], key=b"k1")
    answer(connector, poll(connector), echo)
    assert route.client.hgetall(named) == {b"value": b"again"}, "nothing of the result before"
    connector.close(5)


def test_results_in_a_stream_go_when_they_are_old(make: Make) -> None:
    route = make(redis={"result_ttl_s": 0.001})
    for n in range(200):  # Redis takes whole nodes of a stream away, of 100 entries
        route.client.xadd(route.settings.result_topic, {"value": b"%d" % n}, id=f"{n + 1}-1")
    route.produce([b"new"])
    connector = route.opened("w1")
    answer(connector, poll(connector))
    connector.close(5)
    assert route.results[-1] == b"new"
    assert len(route.results) < 200


def test_every_other_field_is_a_header_and_what_can_not_be_read_says_why(make: Make) -> None:
    route = make()
    topic = route.settings.request_topic
    route.client.execute_command("XADD", topic, "*", "key", "k", "a", "1", "value", "v", "a", "2")
    route.client.execute_command("XADD", topic, "*", "value", "v", "value", "w")
    route.client.execute_command("XADD", topic, "*", b"\xff", "x")
    route.client.execute_command("XADD", topic, "5000000000000-7", "value", "v", *[f"h{n}" for n in range(4000)])
    connector = route.opened("w1")
    plain, twice, unnamed, many = records = poll(connector, 4)
    assert (plain.value, plain.key, list(plain.headers)) == (b"v", b"k", [("a", b"1"), ("a", b"2")])
    assert plain.timestamp_ms > 1_700_000_000_000
    assert "stands twice" in twice.fault
    assert "not UTF-8" in unnamed.fault
    assert ("2001 fields" in many.fault, list(many.headers)) == (True, [])
    assert (many.offset, many.partition) == (5_000_000_000_000, 7)
    reason = Error("undecodable", "why", retriable=False)
    answer(connector, records, lambda record: Answer(b"no", record.key, (), dead_letter=reason))
    connector.close(5)
    assert [letter[b"penstock-error-code"] for letter in route.letters] == [b"undecodable"] * 4
    assert {b"key": b"k", b"value": b"v"}.items() <= route.letters[0].items()
    assert route.is_done


def test_a_dead_workers_requests_are_anothers_after_a_while_and_its_consumer_goes(make: Make) -> None:
    route = make()
    route.produce([b"a", b"b"])
    dead = route.opened("dead")
    assert len(poll(dead, 2)) == 2
    alive = route.opened("alive")
    answer(alive, records := poll(alive, 2))
    assert [record.value for record in records] == [b"a", b"b"]
    wait_for("the consumer is deleted", lambda: not alive.poll(1, 0.1) and route.consumers == {b"alive"})
    alive.close(5)
    dead.close(5)


def test_a_worker_that_computes_for_long_keeps_its_requests(make: Make) -> None:
    """Longer than the time after which a dead worker's are others'."""
    route = make()
    route.produce([b"slow"])
    slow, other = route.opened("slow"), route.opened("other")
    records = poll(slow)
    until_s = time.monotonic() + 2 * CLAIM_AFTER_S
    while time.monotonic() < until_s:
        attend(slow, 0.1)
        assert not other.poll(1, 0.1)
    answer(slow, records)
    assert route.results == [b"slow"]
    slow.close(5)
    other.close(5)


def test_a_request_that_two_workers_have_is_answered_once(make: Make) -> None:
    """The first one stood still for longer than the claim time, and goes on then."""
    route = make()
    route.produce([b"a", b"b"])
    stalled = route.opened("stalled")
    first = poll(stalled, 2)
    other = route.opened("other")
    answer(other, poll(other, 2))
    answer(stalled, first, lambda record: Answer(b"late", record.key, ()))
    assert route.results == [b"a", b"b"]
    stalled.close(5)
    other.close(5)


def test_a_worker_that_comes_back_has_its_requests_at_once(make: Make) -> None:
    route = make(redis={"claim_after_s": 3600.0})
    route.produce([b"a"])
    assert poll(route.opened("w1"))
    again = route.opened("w1")
    answer(again, poll(again))
    again.close(5)
    assert route.results == [b"a"]


def test_requests_whose_reply_was_lost_on_the_way_are_taken_all_the_same(make: Make) -> None:
    route = make(redis={"claim_after_s": 3600.0})
    name, group = route.settings.request_topic, route.settings.group
    connector = route.opened("w1")
    assert not connector.poll(10, 0.05)
    with ThreadPoolExecutor(1) as pool:
        poll_of_nothing = pool.submit(connector.poll, 10, 20.0)

        def reading() -> list[str]:
            clients = route.client.client_list()
            return [each["id"] for each in clients if (each["name"], each["cmd"]) == ("w1", "xreadgroup")]

        wait_for("the connector reads", reading)
        # In its name, before its own read is served: as if that had been, and its connection broken.
        pipe = route.client.pipeline(transaction=True)
        pipe.xadd(name, {"value": b"lost"})
        pipe.xreadgroup(group, "w1", {name: ">"})
        assert pipe.execute()[1]
        for id_ in reading():
            route.client.client_kill_filter(_id=id_)
        assert not poll_of_nothing.result(20)
    answer(connector, poll(connector))
    connector.close(5)
    assert route.results == [b"lost"]


def test_a_stream_that_was_deleted_is_read_again_from_its_start(make: Make) -> None:
    route = make()
    connector = route.opened("w1")
    assert not connector.poll(10, 0.05)
    route.client.delete(route.settings.request_topic)
    route.produce([b"new"])
    answer(connector, poll(connector))
    connector.close(5)
    assert route.results == [b"new"]


def test_what_was_deleted_before_it_was_answered_is_let_go(make: Make) -> None:
    route = make()
    [entry_id] = route.produce([b"gone"])
    assert poll(route.opened("w1"))
    route.client.xdel(route.settings.request_topic, entry_id)
    again = route.opened("w1")
    wait_for("nothing is pending", lambda: not again.poll(1, 0.1) and route.is_done)
    again.close(5)


def test_a_reply_address_that_takes_no_answer_is_refused_and_its_neighbours_are_answered(make: Make) -> None:
    route = make(reply_topics=("*",))
    route.client.set(f"{route.settings.result_topic}-text", "no stream")
    route.produce([b"a", b"astray", b"c"])

    def reply(record: Record) -> Answer:
        topic = f"{route.settings.result_topic}-text" if record.value == b"astray" else None
        return Answer(record.value, record.key, (), topic)

    connector = route.opened("w1")
    answer(connector, poll(connector, 3), reply)
    connector.close(5)
    assert route.results == [b"a", b"c", b"refused reply_refused"]
    assert route.is_done


def test_a_result_topic_that_is_no_stream_fails_the_batch_and_its_requests_stay(make: Make) -> None:
    route = make()
    route.client.set(route.settings.result_topic, "no stream")
    route.produce([b"a"])
    connector = route.opened("w1")
    with pytest.raises(ConnectorError, match="WRONGTYPE"):
        answer(connector, poll(connector))
    connector.close(5)
    assert route.client.xlen(route.settings.request_topic) == 1
    route.client.delete(route.settings.result_topic)
    again = route.opened("w2")
    answer(again, poll(again))
    again.close(5)
    assert route.results == [b"a"]


def test_a_request_that_kills_workers_is_named_by_the_third_death(make: Make) -> None:
    """Each life takes up what the one before has left, in fewer and fewer at a time; the neighbours are answered."""
    route = make(poison_after_kills=3, redis={"claim_after_s": 3600.0})
    route.produce([b"%d" % n for n in range(20)])

    def life() -> list[Record]:
        """Answer until the deadly one comes; return what was in flight with it."""
        connector = route.opened("w1")
        while True:
            records = poll(connector)
            deadly = [record for record in records if record.value == b"13" and not record.kills]
            if deadly:
                return records
            answer(connector, records)
            if b"13" in [record.value for record in records]:
                connector.close(5)
                return records

    in_flight = [life() for _ in range(4)]
    assert [len(records) for records in in_flight] == [20, 5, 1, 1]
    assert [records[0].kills for records in in_flight] == [0, 0, 0, 3]
    wait_for("all are answered", lambda: len(route.results) == 20 or not answer_rest(route))
    assert sorted(map(int, route.results)) == list(range(20))


def answer_rest(route: RedisRoute) -> list[Record]:
    connector = route.opened("rest")
    records = list(connector.poll(100, 0.1))
    answer(connector, records)
    connector.close(5)
    return records


def test_a_suspect_is_tried_though_the_connection_breaks_when_that_is_noted(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    route = make(poison_after_kills=3, redis={"claim_after_s": 3600.0})
    route.produce([b"%d" % n for n in range(4)])
    poll(route.opened("w1"), 4)  # and it is never heard of again
    connector = route.opened("w1")
    real, lost = Server.run, []

    def run(server: Server, script: Script, *arguments: Any) -> Any:
        reply = real(server, script, *arguments)
        if script is scripts.KEEP and not lost:
            lost.append(arguments)
            raise ConnectionError("the reply is lost")
        return reply

    monkeypatch.setattr(Server, "run", run)
    while len(route.results) < 4:
        answer(connector, poll(connector))
    assert lost
    connector.close(5)


def test_what_a_worker_lets_go_in_good_order_is_no_suspect(make: Make) -> None:
    route = make(poison_after_kills=3)
    route.produce([b"%d" % n for n in range(20)])
    first = route.opened("w1")
    assert len(poll(first, 20)) == 20
    first.close(5)
    second = route.opened("w2")
    assert len(second.poll(100, 0.1)) == 20, "all at once"
    second.close(5)


@pytest.mark.parametrize("max_wait_ms", [0, 1000])
def test_a_read_that_waits_ends_before_a_short_time_out(
    make: Make, caplog: pytest.LogCaptureFixture, max_wait_ms: float
) -> None:
    route = make(max_wait_ms=max_wait_ms)
    connector = route.opened("w1", timeout_s=0.4)
    assert not connector.poll(10, 0.8)
    route.produce([b"a"])
    answer(connector, poll(connector))
    connector.close(5)
    assert route.results == [b"a"]
    assert not caplog.messages


def test_what_redis_can_not_do_is_refused(make: Make) -> None:
    for settings, words in (
        ({"request_topic": "^a.*"}, "pattern"),
        ({"guarantee": "exactly_once"}, "guarantee"),
    ):
        with pytest.raises(InvalidSettings, match=words):
            make(**settings).connector("w1")
    with pytest.raises(InvalidSettings, match=r"redis\.url"):
        make().connector("w1", url="")
