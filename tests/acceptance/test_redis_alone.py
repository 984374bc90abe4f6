"""Everything with a Redis and no Kafka: versions roll out, requests are answered, every command works."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pipeline.client import InputQueue, OutputQueue
from pipeline.client.queue import QueueOptions
from pipeline.records import State
from tests.acceptance.conftest import Deploy
from tests.acceptance.workers import Deployment, wait_for


def place(it: Deployment) -> QueueOptions:
    route = it.settings.routes["factor"]
    return {"bootstrap": it.bootstrap, "request_topic": route.request_topic, "result_topic": route.result_topic}


def test_a_dropped_version_goes_live_and_answers_without_any_kafka(deploy_on_redis: Deploy) -> None:
    it = deploy_on_redis()
    it.drop("factor", 1, {"factor": b"2"})
    it.watcher()
    worker = it.worker("one").wait_until_ready()
    with InputQueue("factor", **place(it)) as requests, OutputQueue("factor", **place(it)) as results:
        x = np.array([[3.0], [4.0]], np.float32)
        np.testing.assert_array_equal(requests.predict({"x": x}, timeout=20), 2 * x)
        ids = requests.enqueue_many([(f"r{n}", {"x": x + n}) for n in range(1000)])
        found = {}
        while len(found) < len(ids):
            more = results.dequeue(timeout=20)
            assert more, f"{len(found)} of {len(ids)} came"
            found |= more
        assert set(found) == set(ids)
        np.testing.assert_array_equal(found["r7"], 2 * (x + 7))
        it.drop("factor", 2, {"factor": b"5"})
        it.wait_for_state(["one"], "factor", 2, State.AVAILABLE)
        wait_for("version 1 gone", lambda: worker.versions() == {"factor": [2]})
        np.testing.assert_array_equal(requests.predict({"x": x}, timeout=20), 5 * x)
    said = json.loads(it.run("predict", "factor", '{"x": [[2]]}', "--json", "--timeout", "20").stdout)
    assert (said["version"], said["outputs"]) == (2, {"y": [[10.0]]})
    assert "AVAILABLE" in it.run("versions", "show").stdout
    assert "one" in it.run("versions", "workers").stdout


def test_a_person_pins_rolls_back_and_unpins_and_the_watcher_heeds_it(deploy_on_redis: Deploy) -> None:
    it = deploy_on_redis()
    it.drop("factor", 1, {"factor": b"1"})
    it.drop("factor", 2, {"factor": b"2"})
    it.watcher()
    worker = it.worker("one").wait_until_ready()
    wait_for("version 2", lambda: worker.versions() == {"factor": [2]})
    it.run("versions", "rollback", "factor", "--to", "1")
    assert worker.versions() == {"factor": [1]}
    it.drop("factor", 3, {"factor": b"3"})
    it.run("versions", "promote", "factor", "1", "--label", "stable")
    assert worker.versions() == {"factor": [1]}
    it.run("versions", "unpin", "factor")
    wait_for("the versions that were found", lambda: worker.versions() == {"factor": [1, 3]})


def test_a_worker_that_stops_says_so_and_leaves_no_sign_of_life(deploy_on_redis: Deploy) -> None:
    it = deploy_on_redis()
    it.drop("factor", 1, {"factor": b"1"})
    worker = it.worker("one", "--watch").wait_until_ready()
    wait_for("a sign of life", lambda: [sign.worker for sign in it.fleet().workers] == ["one"], every_s=0.2)
    worker.popen.terminate()
    assert worker.wait() == 0, worker.log
    it.wait_for_state(["one"], "factor", 1, State.END)
    assert it.fleet().workers == ()
    assert "Kafka" not in worker.log
    assert "9092" not in worker.log


def test_check_and_topics_look_at_redis_and_at_nothing_else(deploy_on_redis: Deploy) -> None:
    it = deploy_on_redis()
    it.drop("factor", 1, {"factor": b"1"})
    checks = json.loads(it.run("check", "--json").stdout)
    assert [check["detail"] for check in checks if check["what"] == "broker"] == [
        f"Redis at {it.bootstrap.removeprefix('redis://')}"
    ]
    found = json.loads(it.run("topics", "--json").stdout)
    route, control = it.settings.routes["factor"], it.settings.control
    names = {report["topic"] for report in found}
    assert {route.request_topic, route.dead_letter_topic, control.aspired_topic, control.states_topic} <= names


@pytest.mark.parametrize("command", [["versions", "show"], ["check"], ["topics"], ["watch", "--once"]])
def test_a_redis_that_is_away_is_named(deploy_on_redis: Deploy, command: list[str]) -> None:
    it = deploy_on_redis()
    it.drop("factor", 1, {"factor": b"1"})
    it.config.write_text(it.config.read_text().replace(it.bootstrap, "redis://127.0.0.1:1"))
    done = it.attempt(*command)
    assert done.returncode != 0
    assert "Redis at 127.0.0.1:1" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
