"""The life of a worker process: both commands, the way it stops, and the way it fails."""

from __future__ import annotations

import json
import re
import signal

import pytest

from pipeline.records import State
from tests.acceptance.conftest import Deploy
from tests.acceptance.traffic import Traffic
from tests.acceptance.workers import Process, wait_for


def test_sigterm_finishes_what_was_begun_and_publishes_the_end(deploy: Deploy) -> None:
    """Nothing is answered twice by the successor: everything that was answered was committed."""
    it = deploy()
    it.drop("factor", 1, {"factor": b"1"})
    worker = it.worker("one", "--watch").wait_until_ready()
    with Traffic(it.bootstrap, it.settings.routes["factor"], per_s=500) as traffic:
        wait_for("answers", lambda: len(traffic.results) > 300)
        assert json.loads(worker.get("/v2/health/ready")[1]) == {"ready": True}
        assert worker.get("/live")[0] == 200
        metrics = worker.get("/metrics")[1]
        assert 'penstock_requests_total{outcome="ok",route="factor"}' in metrics
        assert 'penstock_version_available{servable="factor",version="1"} 1.0' in metrics
        assert 'penstock_predictions_total{outcome="ok",servable="factor",version="1"}' in metrics
        assert re.search(r'penstock_worker_info{release="[^"]+",worker="one"} 1.0', metrics)
        assert "process_resident_memory_bytes" in metrics
        worker.signal(signal.SIGTERM)
        assert worker.wait() == 0, worker.log
        it.wait_for_state(["one"], "factor", 1, State.END)
        it.worker("two", "--watch").wait_until_ready()
        traffic.finish()
        assert traffic.unanswered() == set()
        assert traffic.doubled() == 0


def test_faust_runs_the_same_worker_and_lists_what_each_agent_consumes(deploy: Deploy) -> None:
    it = deploy()
    it.drop("factor", 1, {"factor": b"3"})
    it.watcher()
    environ = {"PENSTOCK_CONFIG": str(it.config), "PYTHONPATH": str(it.folder)}
    faust = ["-m", "faust", "-A", "pipeline.app"]
    process = Process("faust", it, ["-c", _WITH_ENVIRON, repr(environ), *faust[1:], "worker", "--without-web"])
    it._processes.append(process)
    with Traffic(it.bootstrap, it.settings.routes["factor"], per_s=50) as traffic:
        wait_for("answers", lambda: len(traffic.results) > 50)
        traffic.finish()
        assert traffic.errors() == []
    process.signal(signal.SIGTERM)
    assert process.wait() == 0, process.log
    listing = Process("agents", it, ["-c", _WITH_ENVIRON, repr(environ), *faust[1:], "agents"])
    assert listing.wait() == 0, listing.log
    assert it.settings.routes["factor"].request_topic in listing.log


def test_a_worker_whose_versions_have_gone_is_not_ready_and_says_why(deploy: Deploy) -> None:
    it = deploy()
    it.drop("factor", 1, {"factor": b"1"})
    worker = it.worker("one", "--watch").wait_until_ready()
    it.run("versions", "unload", "factor")
    it.wait_for_state(["one"], "factor", 1, State.END)
    status, page = worker.get("/ready")
    assert (status, json.loads(page)["routes"]) == (503, {"factor": "no version of factor is available"})
    assert "penstock_version_available{" not in worker.get("/metrics")[1]


# Runs a module as `python -m` does, with some variables set first.
_WITH_ENVIRON = (
    "import ast, os, runpy, sys; os.environ.update(ast.literal_eval(sys.argv[1])); "
    "sys.path.insert(0, os.environ['PYTHONPATH']); name = sys.argv[2]; sys.argv[1:3] = []; "
    "runpy.run_module(name, run_name='__main__', alter_sys=True)"
)


def test_a_worker_that_can_not_publish_ends_with_a_status_and_a_readable_line(deploy: Deploy) -> None:
    """The result topic is gone: no half-alive worker that takes requests and answers none."""
    it = deploy(routes={"factor": {"result_topic": "does-not-exist-anywhere"}})
    from confluent_kafka.admin import AdminClient

    admin = AdminClient({"bootstrap.servers": it.bootstrap})
    admin.delete_topics(["does-not-exist-anywhere"])["does-not-exist-anywhere"].result(20)
    it.drop("factor", 1, {"factor": b"1"})
    worker = it.worker("one", "--watch").wait_until_ready()
    from confluent_kafka import Producer

    producer = Producer({"bootstrap.servers": it.bootstrap})
    producer.produce(it.settings.routes["factor"].request_topic, b"{}")
    producer.flush(10)
    assert worker.wait() != 0
    assert "does-not-exist-anywhere" in worker.log
    assert "the worker stops" in worker.log


@pytest.mark.parametrize("text", ["routes: {m: {}}", "routes: [", "workers: {}", "routes: {}"])
def test_wrong_settings_are_one_readable_line(deploy: Deploy, text: str) -> None:
    it = deploy()
    it.config.write_text(text)
    worker = it.worker("one")
    assert worker.wait() != 0
    assert "penstock.yaml" in worker.log
    assert "Traceback" not in worker.log


def test_workers_come_and_go_under_load_and_no_request_is_lost_or_answered_twice(deploy: Deploy) -> None:
    """What is in flight on a partition that moves is answered and committed before its next owner starts."""
    it = deploy()
    it.drop("factor", 1, {"factor": b"1"})
    it.watcher()
    first = it.worker("one").wait_until_ready()
    with Traffic(it.bootstrap, it.settings.routes["factor"], per_s=1000) as traffic:
        for name in ("two", "three"):
            joined = it.worker(name).wait_until_ready()
            wait_for(f"{name} has partitions", lambda joined=joined: "assigned factor" in joined.log)
            seen = len(traffic.results)
            wait_for("answers by all", lambda seen=seen: len(traffic.results) > seen + 1000)
        first.signal(signal.SIGTERM)
        assert first.wait() == 0
        seen = len(traffic.results)
        wait_for("answers by the others", lambda: len(traffic.results) > seen + 1000)
        traffic.finish()
        assert traffic.unanswered() == set()
        assert traffic.doubled() == 0
        assert traffic.errors() == []
