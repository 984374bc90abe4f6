"""Redis restarts, is killed, is full, stands still: nothing is lost, and nothing answered twice."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from pipeline.connector import Answer
from pipeline.errors import AccessDenied, AuthenticationFailed, ConnectorError
from pipeline.local.redis import LocalRedis
from pipeline.redis_access import connect, failure, is_full
from tests.integration.members import Member, echo, refuse, wait_for
from tests.integration.redis_members import RedisRoute, answer, poll, worker_commands
from tests.valkey_server import valkey_server


class Sender(threading.Thread):
    """Sends requests one by one, until it is stopped; ``sent`` are those that Redis has taken, as far as it said so."""

    def __init__(self, route: RedisRoute) -> None:
        super().__init__()
        self._route = route
        self._client = connect(route.redis, "sender", retries=0)
        self._is_over = threading.Event()
        self.sent: list[bytes] = []
        self.refused = 0

    def run(self) -> None:
        number = 0
        while not self._is_over.is_set():
            value = b"%d" % number
            number += 1
            try:
                self._client.xadd(self._route.settings.request_topic, {"value": value})
            except Exception:  # noqa: BLE001  # whatever it is: this one is not known to be there
                self.refused += 1
                time.sleep(0.01)
            else:
                self.sent.append(value)

    def stop(self) -> list[bytes]:
        self._is_over.set()
        self.join()
        self._client.close()
        return self.sent


@pytest.fixture
def durable(request: Any) -> Iterator[LocalRedis]:
    binary = valkey_server() if getattr(request, "param", "redis") == "valkey" else None
    with LocalRedis(append_only=True, binary=binary) as server:
        yield server


Make = Callable[..., RedisRoute]


@pytest.fixture
def make() -> Iterator[Make]:
    made: list[RedisRoute] = []

    def of(server: LocalRedis, **settings: Any) -> RedisRoute:
        made.append(RedisRoute(server.url, "t", **settings))
        return made[-1]

    yield of
    for route in made:
        route.close()


@pytest.mark.parametrize(
    ("durable", "how"), [("redis", "restart"), ("redis", "kill"), ("valkey", "kill")], indirect=["durable"]
)
def test_every_request_that_redis_has_taken_is_answered_once_though_it_goes_down_three_times(
    make: Make, durable: LocalRedis, how: str
) -> None:
    route = make(durable)
    members = [Member(route.connector(f"w{n}"), batch=20).start() for n in range(2)]  # type: ignore[arg-type]  # a connector of Redis
    sender = Sender(route)
    sender.start()
    for _ in range(3):
        seen = len(route.results)
        wait_for("answers", lambda seen=seen: len(route.results) > seen + 200)
        if how == "kill":
            durable.kill()
            durable.start()
        else:
            durable.restart()
    sent = sender.stop()
    wait_for("all are answered", lambda: set(sent) <= set(route.results) and route.is_done)
    for member in members:
        member.stop()
        assert member.errors == []
    assert [value for value, count in Counter(route.results).items() if count > 1] == []
    assert sender.refused


def test_a_server_that_stands_still_is_waited_for(make: Make, durable: LocalRedis) -> None:
    """Longer than the time-out of its clients; what was sent then is answered once."""
    route = make(durable)
    member = Member(route.connector("w1", timeout_s=0.3), batch=20).start()  # type: ignore[arg-type]  # as above
    sender = Sender(route)
    sender.start()
    wait_for("answers", lambda: len(route.results) > 100)
    pid = durable.pid
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    time.sleep(1.0)  # not for luck: the length of the standstill
    os.kill(pid, signal.SIGCONT)
    seen = len(route.results)
    wait_for("answers after it", lambda: len(route.results) > seen + 100)
    sent = sender.stop()
    wait_for("all are answered", lambda: set(sent) <= set(route.results) and route.is_done)
    member.stop()
    assert member.errors == []
    assert max(Counter(route.results).values()) == 1


def test_a_full_server_refuses_producers_and_takes_answers(make: Make, durable: LocalRedis) -> None:
    """The backlog that fills it is worked off: answering a request makes room."""
    route = make(durable, redis={"results": "hash"})
    connector = route.opened("w1")
    assert not connector.poll(10, 0.05)
    memory = int(route.client.info("memory")["used_memory"])
    route.client.config_set("maxmemory-policy", "noeviction")
    route.client.config_set("maxmemory", memory + 2_000_000)
    sent: list[bytes] = []
    with pytest.raises(Exception, match="maxmemory") as caught:  # noqa: PT012  # until it is full
        while True:
            [id_] = route.produce([b"x" * 2000])
            sent.append(id_)
    assert is_full(caught.value)
    assert "full" in str(failure(route.redis, caught.value))
    assert len(sent) > 200
    late = route.opened("w2")  # a worker that comes now makes its consumer all the same
    while not route.is_done:
        for worker in (connector, late):
            records = worker.poll(50, 0.1)
            if records:
                answer(worker, records, lambda record: Answer(b"ok", record.key, ()))
    assert len(route.client.keys(f"{route.settings.result_topic}:*")) == len(sent)
    route.produce([b"room again"])
    answer(connector, poll(connector))
    connector.close(5)
    late.close(5)


def test_a_worker_needs_no_more_than_the_documentation_says(make: Make) -> None:
    """An ACL user with the commands and keys of docs/redis.md alone; without one of them it says who lacks what."""
    rules = "resetchannels ~t.q ~t.r ~t.r:* ~t.d " + worker_commands()
    with LocalRedis(
        config=[f"user worker on >work-secret {rules}", "user nobody on >work-secret +ping ~t.q"]
    ) as server:
        for results in ("hash", "stream"):
            route = make(server, redis={"results": results})
            login = {"username": "worker", "password": "work-secret"}
            route.produce([b"a", b"b"])
            left = route.opened("w0", **login)
            assert poll(left, 2)
            left.close(5)
            connector = route.opened("w1", **login)
            answer(connector, poll(connector, 2))
            connector.close(5)
            assert route.is_done
        denied = route.opened("w2", username="nobody", password="work-secret")
        with pytest.raises(AccessDenied, match="lacks a permission"):
            denied.poll(1, 0.1)
        denied.close(1)
        unknown = route.opened("w3", username="worker", password="wrong-secret")
        with pytest.raises(AuthenticationFailed) as caught:
            unknown.poll(1, 0.1)
        assert "wrong-secret" not in str(caught.value)
        unknown.close(1)


def test_a_server_that_is_away_at_the_start_is_waited_for(make: Make, durable: LocalRedis) -> None:
    durable.stop()
    route = make(durable)
    connector = route.opened("w1")
    assert not connector.poll(10, 0.1)
    assert not connector.poll(0, 0.0)
    durable.start()
    route.produce([b"a"])
    answer(connector, poll(connector))
    connector.close(5)
    assert route.results == [b"a"]


def test_answers_that_redis_never_takes_fail_when_the_worker_leaves(make: Make, durable: LocalRedis) -> None:
    route = make(durable)
    route.produce([b"a"])
    connector = route.opened("w1")
    records = poll(connector)
    durable.stop()
    waiting = connector.answer(records, [echo(record) for record in records], refuse)
    connector.close(0.3)
    assert isinstance(waiting.exception(5), ConnectorError)
    durable.start()
    again = route.opened("w1")
    answer(again, poll(again))
    again.close(5)
    assert route.results == [b"a"]
