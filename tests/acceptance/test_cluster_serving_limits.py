"""What the published clients can not do whatever serves them, as docs/cluster-serving.md tells it: on a real Redis."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.codecs.cluster_serving import results
from pipeline.local.redis import LocalRedis
from pipeline.local.redis_cluster import LocalRedisCluster
from pipeline.redis_access import connect
from pipeline.settings import RedisSettings
from tests.acceptance.cluster_serving import jobs
from tests.acceptance.cluster_serving.clients import BIGDL, ZOO, Client, Published, array, queues
from tests.acceptance.workers import Deployment, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PUBLISHED = {"bigdl": BIGDL, "zoo": ZOO}
STREAM = "serving_stream"
RESULT = f"cluster-serving_{STREAM}"


@pytest.fixture(params=list(PUBLISHED))
def published(request: Any) -> Published:
    return PUBLISHED[request.param]


@pytest.fixture
def client(published: Published, server: LocalRedis) -> Iterator[Client]:
    with queues(published, server.port) as made:
        yield made


def put(raw: Any, uri: str, values: Any) -> None:
    """Put a result where a worker would."""
    raw.hset(f"{RESULT}:{uri}", "value", results.write([("y", np.asarray(values, np.float32))]))


def test_dequeue_cuts_a_uri_at_its_first_colon_and_query_does_not(client: Client, raw: Any) -> None:
    put(raw, "a:b", [3])
    assert client.call("out", "query", "a:b")["array"] == [3]
    assert list(client.call("out", "dequeue")) == ["a"]


def test_query_takes_no_number_and_finds_it_as_text(client: Client, raw: Any) -> None:
    put(raw, "4711", [3])
    assert client.attempt("out", "query", 4711)["raised"] == "TypeError"
    assert client.call("out", "query_and_delete", "4711")["array"] == [3]


def test_an_image_and_a_tensor_do_not_fit_into_one_request_of_theirs(client: Client, raw: Any) -> None:
    said = client.attempt("in", "enqueue", "u", image={"b64": "aGVsbG8="}, tensor=array([1, 2]))
    assert "same length" in said["text"]
    assert raw.xlen(STREAM) == 0


def test_predict_waits_far_longer_than_its_time_out(client: Client, raw: Any) -> None:
    """It compares the time-out with the length of its last nap: 1, 2, 3, ... ms, so for 0.03 s it naps 0.4 s."""
    began = time.monotonic()
    assert client.call("in", "predict", array([[1, 2]]), timeout=0.03) == "[]"
    assert time.monotonic() - began > 10 * 0.03
    raw.delete(STREAM)


def test_when_redis_is_full_one_client_raises_and_the_other_drops(published: Published) -> None:
    """A request that was never written can not be answered. Without a limit, and far below it, both send."""
    with LocalRedis() as full:
        raw = connect(RedisSettings(url=full.url), "test")
        used = raw.info()["used_memory"]
        with queues(published, full.port) as client:
            for taken, limit in enumerate((0, 100 * used), 1):
                raw.config_set("maxmemory", limit)
                client.call("in", "enqueue", "u", t=array([1]))
                assert raw.xlen(STREAM) == taken
            raw.config_set("maxmemory", used)
            said = client.attempt("in", "enqueue", "u", t=array([1]))
        assert said.get("raised") == ("RuntimeError" if published.refuses_when_full else None)
        assert raw.xlen(STREAM) == 2
        raw.close()


def test_with_numpy_2_predict_raises_for_several_elements_and_the_rest_works(
    published: Published, server: LocalRedis, raw: Any, tmp_path: Path
) -> None:
    """Their code as it is, beside the NumPy of these tests; httpx, which it imports for more, is left out."""
    assert int(np.__version__.partition(".")[0]) >= 2
    [package] = published.python.parents[1].glob(f"lib/*/site-packages/{published.module.partition('.')[0]}")
    (tmp_path / package.name).symlink_to(package)
    (tmp_path / "httpx.py").touch()
    with queues(published, server.port, python=Path(sys.executable), path=tmp_path) as client:
        raw.xgroup_create(STREAM, "test", "$", mkstream=True)
        one, several = (_predict(client, raw, values) for values in ([7], [7, 8]))
        assert one["returned"]["array"] == [7]
        assert several["raised"] == "ValueError"
        assert "ambiguous" in several["text"]
        put(raw, "n", [7, 8])
        assert client.call("out", "query_and_delete", "n")["array"] == [7, 8]
    raw.delete(STREAM)


def _predict(client: Client, raw: Any, values: Any) -> dict[str, Any]:
    """Return what ``predict`` does when the answer has these values."""
    client.begin("in", "predict", array([[1, 2]]), timeout=1)
    [[_, [(_, fields)]]] = wait_for("the request", lambda: raw.xreadgroup("test", "test", {STREAM: ">"}))
    put(raw, fields[b"uri"].decode(), values)
    return client.end()


def test_in_a_cluster_a_job_in_braces_is_answered_on_its_node(published: Published, tmp_path: Path) -> None:
    """Their client follows no redirection: it has to be told the node that has the job's slot."""
    name = f"{{{STREAM}}}"
    with LocalRedisCluster() as cluster:
        deployment = Deployment(tmp_path, cluster.url, jobs.sections(tmp_path, {STREAM: name}, "redis"))
        raw = connect(RedisSettings(url=cluster.url), "test")
        try:
            deployment.worker("cs").wait_until_ready()
            port = raw.get_node_from_key(name).port
            with queues(published, port, name=name) as client:
                client.call("in", "enqueue", "u", t=array([[1, 2]]))
                found = wait_for("the result", lambda: client.call("out", "dequeue"))
                assert found["u"]["array"] == [3]
            elsewhere = next(node.port for node in cluster.nodes if node.port != port)
            with queues(published, elsewhere, name=name) as client:
                client.attempt("in", "enqueue", "v", t=array([[1, 2]]))
            assert raw.xlen(name) == 0
        finally:
            deployment.close()
            raw.close()


def test_predict_sends_the_first_of_several_instances_and_forgets_the_others(client: Client, raw: Any) -> None:
    text = json.dumps({"instances": [{"x": [1, 2]}, {"x": [3, 4]}]})
    assert client.call("in", "predict", text, timeout=0.001) == "[]"
    assert raw.xlen(STREAM) == 1
    raw.delete(STREAM)
