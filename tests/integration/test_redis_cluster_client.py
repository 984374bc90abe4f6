"""The client and the control logs on a cluster of Redis: each name on the node that has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from pipeline.client import InputQueue, OutputQueue
from pipeline.clock import SystemClock
from pipeline.control.fleet import read_fleet
from pipeline.control.logs import read_all
from pipeline.control.redis_streams import inspect
from pipeline.control.states import StatePublisher
from pipeline.local.redis_cluster import LocalRedisCluster
from pipeline.records import ServableState, State
from pipeline.redis_access import connect
from pipeline.settings import ControlSettings, RedisSettings, Settings
from tests.integration.control_places import DEADLINE_S, Place

if TYPE_CHECKING:
    from collections.abc import Iterator

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalRedisCluster]:
    with LocalRedisCluster() as local:
        yield local


@pytest.mark.parametrize("name", ["{a}", "{b}", "{c}"])  # on a node each
def test_a_client_sends_to_a_cluster_and_looks_for_results_there(cluster: LocalRedisCluster, name: str) -> None:
    place = {"bootstrap": cluster.url, "request_topic": f"{name}.requests", "result_topic": f"{name}.results"}
    with InputQueue("m", **place, max_length=100) as requests, OutputQueue("m", **place) as results:
        requests.enqueue_many([(f"r{n}", {"x": ROW}) for n in range(20)])
        requests.flush(DEADLINE_S)
        client = connect(RedisSettings(url=cluster.url), "test")
        assert client.xlen(f"{name}.requests") == 20
        client.close()
        assert results.query("nobody") is None


def test_control_logs_live_in_a_cluster(cluster: LocalRedisCluster) -> None:
    place = Place("redis", cluster.url)
    for topic in ("one", "two", "three"):
        writer = place.logs.writer(topic, "w")
        assert [writer.write(b"k", value, DEADLINE_S) for value in (b"1", b"2", None)] == [0, 1, 2]
        assert writer.write(b"l", b"3", DEADLINE_S) == 3
        writer.close(1)
        assert read_all(place.logs, topic) == {b"l": b"3"}
    publisher = StatePublisher(place.logs, "states", "w-1", SystemClock())
    publisher.recovered([])
    for version in range(5):
        publisher(ServableState("", "digits", version, State.AVAILABLE))
    assert publisher.flush(DEADLINE_S)
    publisher.close()
    assert len(read_fleet(place.logs, "states").states) == 5
    settings = Settings(redis=place.settings.redis, control=ControlSettings(connector="redis"))
    assert not [finding for report in inspect(settings) for finding in report.findings if finding.is_problem]
