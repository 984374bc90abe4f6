"""Workers on Redis are killed, stand still and leave, under load: nothing is lost, and nothing answered twice."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

import pytest

from pipeline.redis_access import connect
from tests.acceptance.conftest import Deploy
from tests.acceptance.redis_traffic import RedisTraffic
from tests.acceptance.workers import Deployment, wait_for

CLAIM_AFTER_S = 2.0


@pytest.fixture
def on_redis(request: Any, deploy: Deploy) -> Deployment:
    """A deployment whose route is read from Redis, or from Valkey."""
    redis = request.getfixturevalue(getattr(request, "param", "redis"))
    route = {"connector": "redis", "redis": {"results": "stream", "claim_after_s": CLAIM_AFTER_S}}
    it = deploy(redis={"url": redis.url}, routes={"factor": route})
    it.drop("factor", 1, {"factor": b"1"})
    it.watcher()
    return it


def traffic_to(it: Deployment) -> RedisTraffic:
    return RedisTraffic(it.settings.redis, it.settings.routes["factor"], per_s=500)


def assert_answered_once(traffic: RedisTraffic) -> None:
    traffic.finish(60)
    assert len(traffic.sent) > 300
    assert traffic.unanswered() == set()
    assert traffic.doubled() == 0
    assert traffic.errors() == []


def wait_for_more(traffic: RedisTraffic, count: int) -> None:
    seen = len(traffic.results)
    wait_for("answers", lambda: len(traffic.results) > seen + count)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("on_redis", "kills"), [("redis", 10), ("valkey", 3)], indirect=["on_redis"])
def test_every_request_is_answered_once_though_workers_are_killed_ten_times_in_a_row(
    on_redis: Deployment, kills: int
) -> None:
    it = on_redis
    workers = [it.worker(f"w{n}").wait_until_ready() for n in range(2)]
    with traffic_to(it) as traffic:
        for kill in range(kills):
            wait_for_more(traffic, 300)
            workers[kill % 2].kill()
            workers[kill % 2] = it.worker(f"w{kill + 2}").wait_until_ready()
        assert_answered_once(traffic)


@pytest.mark.slow
def test_a_worker_that_stands_still_for_longer_than_the_claim_time_doubles_nothing(on_redis: Deployment) -> None:
    it = on_redis
    stalled, _ = (it.worker(f"w{n}").wait_until_ready() for n in range(2))
    with traffic_to(it) as traffic:
        wait_for_more(traffic, 300)
        os.kill(stalled.popen.pid, signal.SIGSTOP)
        time.sleep(2 * CLAIM_AFTER_S)  # not for luck: the length of the standstill
        os.kill(stalled.popen.pid, signal.SIGCONT)
        wait_for_more(traffic, 300)
        assert_answered_once(traffic)
    assert stalled.popen.poll() is None


@pytest.mark.slow
def test_a_worker_that_leaves_in_good_order_leaves_nothing_and_no_consumer(on_redis: Deployment) -> None:
    it = on_redis
    leaving, _ = (it.worker(f"w{n}").wait_until_ready() for n in range(2))
    route = it.settings.routes["factor"]
    with traffic_to(it) as traffic:
        wait_for_more(traffic, 300)
        leaving.popen.send_signal(signal.SIGTERM)
        assert leaving.wait(30) == 0
        assert_answered_once(traffic)
    client = connect(it.settings.redis, "test")
    [consumer] = client.xinfo_consumers(route.request_topic, route.group)
    assert consumer["name"] == b"penstock-w1-factor"
    client.close()
