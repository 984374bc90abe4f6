"""Answers reach the one who asked; what nobody takes is bounded."""

from __future__ import annotations

import asyncio
import logging
import threading
import time

import pytest

from pipeline.client.address import Address, new_client_id, reply_partition
from pipeline.client.reply_table import ReplyTable
from pipeline.client.waiting import deliver_to, wait
from pipeline.errors import ConnectorError
from pipeline.records import PredictResult
from tests.waiting import wait_for


def result(id_):
    return PredictResult(id_, "s")


def test_a_claimed_answer_goes_to_its_claim_only_and_once():
    table, got = ReplyTable(10), []
    table.claim("a", got.append)
    table.put("b", result("b"))
    table.put("a", result("a"))
    table.put("a", result("a"))
    assert [outcome.id for outcome in got] == ["a"]
    assert list(table.drain()) == ["b"]


def test_an_id_is_claimed_once_at_a_time():
    table = ReplyTable(10)
    table.claim("a", print)
    with pytest.raises(ValueError, match="'a'"):
        table.claim("a", print)
    table.give_up("a")
    table.claim("a", print)


def test_an_answer_after_giving_up_is_dropped_at_debug(caplog):
    table = ReplyTable(10)
    table.claim("a", print)
    table.give_up("a")
    with caplog.at_level(logging.DEBUG):
        table.put("a", result("a"))
    assert table.drain() == {}
    assert [record.levelno for record in caplog.records] == [logging.DEBUG]


def test_a_result_stays_until_it_is_taken_and_its_double_is_dropped():
    table = ReplyTable(10)
    table.put("a", result("a"))
    assert table.get("a") is table.get("a") is not None
    assert table.pop("a") is not None
    table.put("a", result("a"))
    assert table.get("a") is table.pop("a") is None
    table.expect("a")
    table.put("a", result("a"))
    assert table.get("a") is not None


def test_the_oldest_results_are_dropped_with_one_warning(caplog):
    table = ReplyTable(3)
    for n in range(6):
        table.put(str(n), result(str(n)))
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert list(table.drain(2)) == ["3", "4"]
    assert list(table.drain()) == ["5"]
    table.grow(5)
    for n in range(10, 15):
        table.put(str(n), result(str(n)))
    assert len(table.drain()) == 5


def test_what_is_remembered_is_bounded():
    table = ReplyTable(100)
    for n in range(1000):
        table.claim(str(n), lambda _: None)
        table.put(str(n), result(str(n)))
    assert len(table._done) == 100
    assert not table._claims
    assert not table._watchers


def test_a_waiting_thread_wakes_for_its_id_and_for_any():
    table = ReplyTable(10)
    for id_ in ("a", None):
        threading.Timer(0.05, table.put, ("a", result("a"))).start()
        started = time.monotonic()
        assert table.wait(id_, 10)
        assert time.monotonic() - started < 5
        assert table.wait(id_, 0)
        table.pop("a")
        table.expect("a")
    started = time.monotonic()
    assert not table.wait("b", 0.05)
    assert 0.05 <= time.monotonic() - started < 5
    assert not table._watchers


def test_failure_reaches_every_waiter():
    table, got = ReplyTable(10), []
    table.claim("a", got.append)
    threading.Timer(0.05, table.fail, (ConnectorError("x", "y"),)).start()
    assert table.wait("b", 10)
    assert isinstance(got[0], ConnectorError)


def test_a_waiting_task_wakes_and_can_be_cancelled():
    async def main():
        table = ReplyTable(10)
        threading.Timer(0.05, table.put, ("a", result("a"))).start()
        assert await wait(table, "a", 10)
        assert await wait(table, None, 0)
        assert not await wait(table, "b", 0.01)
        task = asyncio.create_task(wait(table, "b", 10))
        await asyncio.to_thread(wait_for, "the task waits", lambda: table._watchers)
        task.cancel()
        await asyncio.wait([task])
        assert not table._watchers

        future = asyncio.get_running_loop().create_future()
        deliver = deliver_to(future)
        await asyncio.to_thread(deliver, result("a"))
        assert (await future).id == "a"
        deliver(result("b"))  # a second one does no harm
        return deliver

    asyncio.run(main())(result("c"))  # neither does one after the loop is closed


def test_a_client_hears_on_the_same_partition_everywhere():
    assert reply_partition("a-client", 16) == reply_partition("a-client", 16) == 6
    assert {reply_partition(f"client-{n}", 4) for n in range(50)} == {0, 1, 2, 3}
    assert reply_partition("anybody", 1) == 0
    assert new_client_id() != new_client_id()


def test_an_address_has_the_names_of_its_route_unless_told():
    address = Address.of("digits", "c", {})
    assert (address.request_topic, address.result_topic) == ("digits.requests", "digits.results")
    assert address.place == "kafka at localhost:9092"
    assert Address.of("r", "c", {"bootstrap.servers": "a:1"}).place == "kafka at a:1"
    other = Address.of("r", "c", {"bootstrap.servers": "a:1"}, "b:2", "q", "p")
    assert (other.place, other.request_topic, other.result_topic) == ("kafka at b:2", "q", "p")
    assert hash(other) == hash(Address.of("r", "c", {}, "b:2", "q", "p"))
