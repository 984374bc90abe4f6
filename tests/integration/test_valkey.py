"""A server of another make, Valkey: the client and the control logs. The connector is in the suites of its contract."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipeline import redis_wire
from pipeline.client import InputQueue, OutputQueue
from pipeline.control.logs import read_all
from pipeline.control.redis_streams import inspect
from pipeline.redis_access import connect
from pipeline.settings import ControlSettings, RedisSettings, Settings
from tests.integration.control_places import DEADLINE_S, Place
from tests.integration.echo_workers import echoing
from tests.waiting import wait_for

ROW = np.arange(4, dtype=np.float32).reshape(1, 4)


def test_every_verb_of_the_client_works(valkey: Any, topic_name: str) -> None:
    raw = connect(RedisSettings(url=valkey.url), "test")
    with (
        echoing(valkey.url, topic_name),
        InputQueue(topic_name, bootstrap=valkey.url, max_length=1000) as queue,
        OutputQueue(topic_name, bootstrap=valkey.url) as results,
        OutputQueue(topic_name, bootstrap=valkey.url, group="g") as shared,
    ):
        np.testing.assert_array_equal(queue.predict({"x": ROW}, DEADLINE_S), ROW)
        ids = set(queue.enqueue_many([(None, {"x": ROW})] * 20))
        for id_ in ids:
            np.testing.assert_array_equal(results.query(id_, timeout=DEADLINE_S), ROW)
        found: set[str] = set()
        wait_for("the group's results", lambda: found.update(shared.dequeue(timeout=1)) or ids <= found)
        assert results.query("nobody") is None
        stream = redis_wire.reply_stream(f"{topic_name}.results", queue.client_id)
        raw.delete(stream)
        wait_for("the stream of the answers is made anew", lambda: raw.exists(stream))
        np.testing.assert_array_equal(queue.predict({"x": ROW}, DEADLINE_S), ROW)
    raw.close()


def test_the_control_logs_and_the_look_at_the_server_work(valkey: Any, topic_name: str) -> None:
    place = Place("redis", valkey.url)
    writer = place.logs.writer(topic_name, "w")
    assert [writer.write(b"k", value, DEADLINE_S) for value in (b"1", None, b"2")] == [0, 1, 2]
    writer.close(1)
    assert read_all(place.logs, topic_name) == {b"k": b"2"}
    settings = Settings(redis=place.settings.redis, control=ControlSettings(connector="redis"))
    assert not [finding for report in inspect(settings) for finding in report.findings if finding.is_problem]
