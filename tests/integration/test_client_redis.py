"""The client over Redis: what is Redis's alone. What both brokers promise is in test_client.py."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import redis as redis_py

from pipeline import redis_wire
from pipeline.client import AsyncInputQueue, AsyncOutputQueue, ConnectorError, InputQueue, OutputQueue, TimedOut
from pipeline.client.address import Address
from pipeline.client.redis import receiver
from pipeline.client.redis.place import RedisPlace
from pipeline.client.redis.store import Store
from pipeline.client.redis.trouble import RedisTrouble
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.errors import AccessDenied, AuthenticationFailed, InvalidSettings, Undecodable
from pipeline.local.redis import LocalRedis
from pipeline.records import PredictResult
from pipeline.tensors import from_array
from tests.integration.echo_workers import echoing
from tests.waiting import wait_for

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)
DEADLINE_S = 20.0
DOCS = Path(__file__).parents[2] / "docs" / "redis.md"
# What it says that a client's user needs.
[CLIENT_ACL] = [line for line in DOCS.read_text().splitlines() if line.startswith("user client on ")]


def test_a_client_trims_what_it_has_read_and_leaves_a_stream_that_expires(redis, topic_name):
    server = redis_py.Redis.from_url(redis.url)
    stream = redis_wire.reply_stream(f"{topic_name}.results", "me")
    with echoing(redis.url, topic_name):
        with InputQueue(topic_name, bootstrap=redis.url, client_id="me") as queue:
            ids = queue.enqueue_many([(None, {"x": ROW})] * 2000)
            with OutputQueue(topic_name, bootstrap=redis.url, client_id="me") as results:
                found = set()
                while len(found) < len(ids):
                    found |= set(results.dequeue(timeout=DEADLINE_S))
            wait_for("the stream is trimmed", lambda: server.xlen(stream) == 0)
            assert server.ttl(stream) > 300
        assert 0 < server.ttl(stream) <= 300


def test_a_client_id_may_have_letters_that_redis_takes_in_no_name(redis, topic_name):
    with echoing(redis.url, topic_name), InputQueue(topic_name, bootstrap=redis.url, client_id="wörker 1") as queue:
        np.testing.assert_array_equal(queue.predict({"x": ROW}, DEADLINE_S), ROW)


@pytest.mark.parametrize("header", [("a", None), ("a", "\ud800"), ("\ud800", b"x")])
def test_a_request_whose_headers_can_not_be_sent_is_refused_and_its_neighbours_are_sent(redis, topic_name, header):
    with InputQueue(topic_name, bootstrap=redis.url) as queue:
        queue.enqueue("a", x=ROW)
        with pytest.raises(ConnectorError, match=r"its headers must be pairs"):
            queue.send({"x": ROW}, headers=[header])
        queue.enqueue("b", x=ROW)
        queue.flush(DEADLINE_S)
    assert redis_py.Redis.from_url(redis.url).xlen(f"{topic_name}.requests") == 2


def test_an_answer_to_a_client_that_is_gone_is_kept_nowhere(redis, topic_name):
    server = redis_py.Redis.from_url(redis.url)
    stream = redis_wire.reply_stream(f"{topic_name}.results", "me")
    with InputQueue(topic_name, bootstrap=redis.url, client_id="me") as queue:
        queue.enqueue("a", x=ROW)
    server.delete(stream)
    with echoing(redis.url, topic_name) as worker:
        wait_for("the request is answered", lambda: worker.seen)
    assert not server.exists(stream)


def test_what_was_sent_and_answered_while_redis_was_away_arrives():
    with (
        LocalRedis(append_only=True) as server,
        InputQueue("m", bootstrap=server.url) as queue,
        OutputQueue("m", bootstrap=server.url) as results,
    ):
        with echoing(server.url, "m"):
            queue.predict({"x": ROW}, DEADLINE_S)
        queue.enqueue("before", x=ROW)
        queue.flush()
        server.kill()
        queue.enqueue("meanwhile", x=ROW)
        with pytest.raises(ConnectorError, match="can not be reached"):
            queue.flush(1.0)
        with pytest.raises(TimedOut, match="can not be reached"):
            queue.predict({"x": ROW}, 0.3)
        server.start()
        queue.flush(DEADLINE_S)
        with echoing(server.url, "m"):
            assert results.query("before", timeout=DEADLINE_S) is not None
            assert results.query("meanwhile", timeout=DEADLINE_S) is not None
            np.testing.assert_array_equal(queue.predict({"x": ROW}, DEADLINE_S), ROW)


def test_a_redis_that_forgot_everything_is_used_again():
    with LocalRedis() as server, InputQueue("m", bootstrap=server.url) as queue:
        with echoing(server.url, "m"):
            queue.predict({"x": ROW}, DEADLINE_S)
        server.kill()
        server.start()
        with echoing(server.url, "m"):
            deadline = time.monotonic() + DEADLINE_S
            while True:  # the first may be sent before the stream of the answers is made again
                try:
                    np.testing.assert_array_equal(queue.predict({"x": ROW}, 1.0), ROW)
                    break
                except TimedOut:
                    assert time.monotonic() < deadline


def test_a_stream_of_answers_that_redis_has_lost_is_made_anew_and_who_waited_hears_of_it():
    with LocalRedis() as server, InputQueue("m", bootstrap=server.url) as queue:
        raw = redis_py.Redis.from_url(server.url)
        stream = redis_wire.reply_stream("m.results", queue.client_id)
        assert raw.exists(stream)
        raw.flushall()
        wait_for("the stream is made anew", lambda: raw.exists(stream))
        assert raw.ttl(stream) > 300
        with pytest.raises(TimedOut, match=r"s ago: m\.results@.* was gone from Redis"):
            queue.predict({"x": ROW}, 0.3)
        with echoing(server.url, "m"):
            np.testing.assert_array_equal(queue.predict({"x": ROW}, DEADLINE_S), ROW)


def receiver_of(url, stream, on_entry):
    place = RedisPlace.of({"url": url}, 0)
    return receiver.Receiver(place, stream, "me", RedisTrouble(place), on_entry, lambda: None)


def test_an_entry_that_nobody_can_hear_hurts_no_other_and_is_logged_once(redis, topic_name, caplog):
    server, heard = redis_py.Redis.from_url(redis.url), []

    def on_entry(_id, fields):
        if fields[1] == b"bad":
            raise RuntimeError
        heard.append(fields[1])

    it = receiver_of(redis.url, topic_name, on_entry)
    it.open(DEADLINE_S)
    for text in ("bad", "a", "bad", "b"):
        server.xadd(topic_name, {"value": text})
    wait_for("the good ones are heard", lambda: heard == [b"a", b"b"])
    wait_for("all are trimmed", lambda: server.xlen(topic_name) == 0)
    it.stop()
    it.join(DEADLINE_S)
    assert len([record for record in caplog.records if record.exc_info]) == 1


def test_a_receiver_that_fails_again_and_again_pauses_each_time_and_says_so_once(
    redis, topic_name, monkeypatch, caplog
):
    steps, naps = [], []
    monkeypatch.setattr(receiver, "time", SimpleNamespace(sleep=naps.append, monotonic=time.monotonic))
    it = receiver_of(redis.url, topic_name, print)

    def step():
        steps.append(1)
        if len(steps) == 50:
            it.stop()
        raise RuntimeError

    monkeypatch.setattr(it, "_step", step)
    it.open(DEADLINE_S)
    it.join(DEADLINE_S)
    assert len(steps) == 50
    assert naps == [0.1] * 50
    assert len([record for record in caplog.records if record.exc_info]) == 1


def test_a_full_stream_refuses_requests_and_says_so(redis, topic_name):
    place = {"bootstrap": redis.url, "max_length": 3}
    with InputQueue(topic_name, **place) as queue:
        queue.enqueue_many([(None, {"x": ROW})] * 3)
        queue.flush()
        with pytest.raises(ConnectorError, match=r"3 requests wait in the stream.*max_length"):
            queue.predict({"x": ROW}, DEADLINE_S)
        queue.enqueue("a", x=ROW)
        with pytest.raises(ConnectorError, match=r"request a .*1 earlier"):
            queue.flush()
        assert redis_py.Redis.from_url(redis.url).xlen(f"{topic_name}.requests") == 3
        with echoing(redis.url, topic_name):  # it acknowledges, and deletes nothing
            wait_for("room", lambda: redis_py.Redis.from_url(redis.url).xtrim(f"{topic_name}.requests", maxlen=0) >= 0)
            np.testing.assert_array_equal(queue.predict({"x": ROW}, DEADLINE_S), ROW)


def test_a_redis_without_memory_refuses_requests_and_loses_nothing_that_it_took():
    block = np.zeros((1, 200_000), np.float32)
    config = ["maxmemory 8mb", "maxmemory-policy noeviction"]
    with LocalRedis(config=config) as server, InputQueue("m", bootstrap=server.url) as queue:
        taken = 0

        def send_until_refused():
            nonlocal taken
            for _ in range(50):
                queue.enqueue(None, x=block)
                queue.flush(DEADLINE_S)
                taken += 1

        with pytest.raises(ConnectorError, match="it is full"):
            send_until_refused()
        assert taken
        assert redis_py.Redis.from_url(server.url).xlen("m.requests") == taken
        with pytest.raises(ConnectorError, match="it is full"):
            queue.predict({"x": block}, DEADLINE_S)


def test_a_user_with_the_documented_rights_can_do_everything(caplog):
    with LocalRedis(config=[CLIENT_ACL]) as server, echoing(server.url, "digits"):
        place = {"bootstrap": server.url, "redis": {"username": "client", "password": "secret"}}
        with InputQueue("digits", **place) as queue, OutputQueue("digits", **place) as results:
            np.testing.assert_array_equal(queue.predict({"x": ROW}, DEADLINE_S), ROW)
            queue.enqueue("a", x=ROW)
            assert results.query_and_delete("a", timeout=DEADLINE_S) is not None
            assert results.query("nobody") is None
        with InputQueue("digits", **place, max_length=1000) as queue:
            np.testing.assert_array_equal(queue.predict({"x": ROW}, DEADLINE_S), ROW)
            commands = redis_py.Redis.from_url(server.url).info
            wait_for("the client looks for its stream", lambda: "cmdstat_exists" in commands("commandstats"))
        assert not caplog.messages
        with pytest.raises(AccessDenied, match="lacks a permission"):
            InputQueue("letters", **place).open()
        wrong = {**place, "redis": {"username": "client", "password": "guess"}}
        with pytest.raises(AuthenticationFailed, match="username and password") as caught:
            InputQueue("digits", **wrong).open()
        assert "guess" not in str(caught.value)


def test_a_result_that_lies_in_a_hash_is_found_by_its_id_whoever_asked(redis, topic_name):
    server, place = redis_py.Redis.from_url(redis.url), {"route": topic_name, "bootstrap": redis.url}
    with InputQueue(**place) as queue:
        queue.send({"x": ROW}, id="a", replies="stored")
        queue.flush()
    [(_, fields)] = server.xrange(f"{topic_name}.requests")
    assert b"reply_to" not in fields
    with OutputQueue(**place) as results:
        assert results.query("a") is None
        value = AvroCodec().encode_result(PredictResult("", "m", 1, (from_array("y", ROW),)))
        threading.Timer(0.3, server.hset, (f"{topic_name}.results:a", "value", value)).start()
        np.testing.assert_array_equal(results.query("a", timeout=DEADLINE_S), ROW)
        np.testing.assert_array_equal(results.query_and_delete("a"), ROW)
        assert results.query("a") is None

        async def main():
            async with AsyncOutputQueue(**place) as twin, AsyncInputQueue(**place):
                server.hset(f"{topic_name}.results:b", "value", value)
                np.testing.assert_array_equal(await twin.query("b", timeout=5), ROW)

        asyncio.run(main())


@pytest.mark.parametrize(
    ("again", "is_taken"), [(lambda it: it.query_and_delete("a", DEADLINE_S), True), (lambda it: it.query("a"), False)]
)
def test_a_cancelled_look_into_the_hashes_loses_nothing(redis, topic_name, monkeypatch, again, is_taken):
    server, place = redis_py.Redis.from_url(redis.url), {"route": topic_name, "bootstrap": redis.url}
    value = AvroCodec().encode_result(PredictResult("", "m", 1, (from_array("y", ROW),)))
    server.hset(f"{topic_name}.results:a", "value", value)
    may_go_on, began = threading.Event(), threading.Event()

    def slow(self, id_):
        began.set()
        may_go_on.wait(DEADLINE_S)
        return delete(self, id_)

    delete = Store.delete
    monkeypatch.setattr(Store, "delete", slow)

    async def main():
        async with AsyncOutputQueue(**place) as results:
            looking = asyncio.create_task(results.query_and_delete("a"))
            await asyncio.to_thread(began.wait, DEADLINE_S)
            looking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await looking
            may_go_on.set()
            np.testing.assert_array_equal(await again(results), ROW)
            assert (await results.query("a") is None) == is_taken

    asyncio.run(main())
    assert not server.exists(f"{topic_name}.results:a")


def test_a_result_that_can_not_be_read_stays_where_it_is(redis, topic_name):
    server, place = redis_py.Redis.from_url(redis.url), {"route": topic_name, "bootstrap": redis.url}
    server.hset(f"{topic_name}.results:a", "value", "garbage")
    with OutputQueue(**place) as results:
        for _ in range(2):
            with pytest.raises(Undecodable):
                results.query_and_delete("a")
        assert server.hget(f"{topic_name}.results:a", "value") == b"garbage"


def _a_member_died_with(server, topic, count):
    """Return the ids of results that a member of the group `g` has read, and nobody has acknowledged for long."""
    server.xgroup_create(topic, "g", "0", mkstream=True)
    value = AvroCodec().encode_result(PredictResult("", "m", 1, (from_array("y", ROW),)))
    for n in range(count):
        server.xadd(topic, {"value": value, "key": f"{n}"})
    server.xreadgroup("g", "dead", {topic: ">"})
    ids = [id_ for id_, _ in server.xrange(topic)]
    server.xclaim(topic, "g", "dead", 0, ids, idle=3_600_000, justid=True)
    return ids


def test_results_that_were_trimmed_before_others_read_what_a_dead_member_had_stop_nobody(redis, topic_name):
    server, topic = redis_py.Redis.from_url(redis.url), f"{topic_name}.results"
    ids = _a_member_died_with(server, topic, 3)
    server.xdel(topic, ids[1])
    with OutputQueue(topic_name, bootstrap=redis.url, group="g") as results:
        assert set(results.dequeue(timeout=DEADLINE_S)) == {"0", "2"}
        assert results.dequeue(timeout=0.1) == {}
        assert server.xpending(topic, "g")["pending"] == 0


def test_results_that_a_member_did_not_handle_are_others_at_once(redis, topic_name, caplog):
    server, topic = redis_py.Redis.from_url(redis.url), f"{topic_name}.results"
    _a_member_died_with(server, topic, 2)

    def handle_and_fail():
        with OutputQueue(topic_name, bootstrap=redis.url, group="g") as results:
            assert results.dequeue(timeout=DEADLINE_S)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        handle_and_fail()
    assert not caplog.messages
    with OutputQueue(topic_name, bootstrap=redis.url, group="g") as results:
        assert set(results.dequeue(timeout=DEADLINE_S)) == {"0", "1"}


def test_results_that_were_lost_on_their_way_to_a_member_are_read_again(redis, topic_name):
    server, topic = redis_py.Redis.from_url(redis.url), f"{topic_name}.results"
    value = AvroCodec().encode_result(PredictResult("", "m", 1, (from_array("y", ROW),)))
    with OutputQueue(topic_name, bootstrap=redis.url, group="g", client_id="me") as results:
        assert results.dequeue() == {}
        for n in range(3):
            server.xadd(topic, {"value": value, "key": f"{n}"})
        server.xreadgroup("g", "me", {topic: ">"})  # as if the connection had broken before they came
        server.xdel(topic, server.xrange(topic)[1][0])
        assert results.dequeue(timeout=0.2) == {}
        with ThreadPoolExecutor(1) as pool:
            reading = pool.submit(results.dequeue, DEADLINE_S)
            wait_for("a read that blocks is cut", lambda: _cut_blocked(server, "me"))
            assert set(reading.result()) == {"0", "2"}
        assert results.dequeue() == {}
        assert server.xpending(topic, "g")["pending"] == 0


def _cut_blocked(server, name):
    """Close the connections of a client where a command blocks; return how many."""
    blocked = [each["id"] for each in server.client_list() if each["name"] == name and "b" in each["flags"]]
    return sum(server.client_kill_filter(_id=id_) for id_ in blocked)


def test_a_group_whose_stream_is_gone_is_made_anew():
    value = AvroCodec().encode_result(PredictResult("", "m", 1, (from_array("y", ROW),)))
    with LocalRedis() as local, OutputQueue("m", bootstrap=local.url, group="g") as results:
        server = redis_py.Redis.from_url(local.url)
        assert results.dequeue() == {}
        server.flushall()
        assert results.dequeue() == {}
        server.xadd("m.results", {"value": value, "key": "a"})
        assert set(results.dequeue(timeout=DEADLINE_S)) == {"a"}


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"bootstrap": "redis://host:port"}, r"redis\.url"),
        ({"bootstrap": "redis://h", "redis": {"user": "x"}}, "unknown field `user`"),
        ({"bootstrap": "redis://h", "max_length": -1}, "max_length"),
    ],
)
def test_a_place_that_is_none_is_refused_at_once(options, complaint):
    with pytest.raises(InvalidSettings, match=complaint):
        InputQueue(**options)


def test_the_url_chooses_the_broker_and_no_password_is_printed():
    def of(bootstrap=None, kafka=None, redis=None):
        return Address.of("m", "me", kafka or {}, bootstrap, redis=redis)

    secret = of("redis://user:hush@host:1/2", redis={"password": "hush"})
    assert secret.place == "Redis at host:1"
    assert "hush" not in repr(secret)
    assert of("kafka://host:9").place == of("host:9").place == "kafka at host:9"
    assert of(redis={"url": "redis://h"}).place == "Redis at h:6379"
    assert of(kafka={"bootstrap.servers": "k:9"}, redis={"url": "redis://h"}).place == "kafka at k:9"
    assert of().place == "kafka at localhost:9092"
