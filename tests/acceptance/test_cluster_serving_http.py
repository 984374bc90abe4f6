"""Both published clients, unmodified, in their HTTP mode: through our front end, and a worker on a real broker."""

from __future__ import annotations

import base64
import json
import signal
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.client import InputQueue
from pipeline.local.redis import LocalRedis
from tests.acceptance.cluster_serving import jobs
from tests.acceptance.cluster_serving.clients import BIGDL, ZOO, Client, Published, kept
from tests.acceptance.workers import Deployment, FrontEnd, wait_for
from tests.unit.codecs.ancestor_bytes import http_decoded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PUBLISHED = {"bigdl": BIGDL, "zoo": ZOO}
PICTURE = np.full((4, 8, 3), (40, 0, 200), np.uint8)  # blue, green, red
JPEG = base64.b64encode(cv2.imencode(".jpg", PICTURE, [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()).decode()


@pytest.fixture(scope="module")
def deployment(server: LocalRedis, tmp_path_factory: Any) -> Iterator[Deployment]:
    folder: Path = tmp_path_factory.mktemp("jobs")
    made = Deployment(folder, server.url, jobs.sections(folder, {job: job for job in jobs.CLASSES}, "redis"))
    try:
        made.worker("cs").wait_until_ready()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def front_ends(deployment: Deployment) -> dict[str, FrontEnd]:
    """A front end for each job, when all of them are ready."""
    found = {job: deployment.front_end(job) for job in jobs.CLASSES}
    for front_end in found.values():
        front_end.wait_until_ready()
    return found


@pytest.fixture(params=list(PUBLISHED))
def published(request: Any) -> Published:
    return PUBLISHED[request.param]


@pytest.fixture
def ask(published: Published, front_ends: dict[str, FrontEnd]) -> Iterator[Any]:
    """Return a client in HTTP mode; all are closed at the end."""
    made: list[Client] = []

    def make(job: str = "serving_stream") -> Client:
        client = Client(published)
        made.append(client)
        client.new("in", "InputQueue", frontend_url=front_ends[job].url, port="1")  # and has no Redis
        return client

    yield make
    for client in made:
        client.close()


def body(**values: Any) -> str:
    return json.dumps({"instances": [values]})


def posted(client: Client, front_end: FrontEnd, text: str) -> Any:
    """What their own functions make of the response to a request that their own queue sends."""
    client.keep("response", "in", "cli.post", f"{front_end.url}/predict", data=text)
    return client.call("module", "http_response_to_ndarray", kept("response"))


@pytest.mark.parametrize(
    ("job", "values", "expected"),
    [
        ("serving_stream", {"x": [[1, 2], [5, 5]]}, [3, 10]),
        ("serving_stream", {"x": [4, 5]}, 9),
        ("scalar", {"x": 7}, [14]),
        ("words", {"text": ["a", "bcd"]}, [1, 3]),
        ("pixels", {"x": JPEG}, [40, 0, 200]),
        ("deep", {"x": [[1, 2]]}, [[1, 2]]),  # their form has no room for more axes than elements
        ("sparse", {"x": {"shape": [1, 10], "data": [3, 4], "indices": [[0, 0], [0, 9]]}}, [[0, 3] + [0] * 7 + [4]]),
    ],
    ids=["a batch", "a row", "a number", "text", "an image", "deep", "sparse"],
)
def test_their_client_reads_what_the_servable_returns(
    ask: Any, front_ends: dict[str, FrontEnd], job: str, values: Any, expected: Any
) -> None:
    got = posted(ask(job), front_ends[job], body(**values))
    assert np.allclose(got["array"], expected, atol=3)  # of a colour in JPEG
    assert got["dtype"] == ("int64" if job == "words" else "float64")


def test_predict_returns_the_prediction_as_text(ask: Any) -> None:
    """Without the braces, which it takes off: of an older server it expected them around ``value=``."""
    said = ask().call("in", "predict", body(x=[[1, 2]]))
    assert json.loads(json.loads(f"{{{said}}}")["value"]) == {"data": [3.0], "shape": [1]}


def test_their_function_that_waits_for_nothing_is_answered(ask: Any, front_ends: dict[str, FrontEnd]) -> None:
    before = answered(front_ends["scalar"])
    ask("scalar").call("module", "perdict", front_ends["scalar"].url, body(x=1))
    assert answered(front_ends["scalar"]) == before + 1


def answered(front_end: FrontEnd) -> float:
    """How many requests had predictions."""
    lines = front_end.get("/metrics")[1].splitlines()
    return sum(
        float(line.split()[1]) for line in lines if line.startswith('penstock_front_end_requests_total{status="200"')
    )


@pytest.mark.parametrize(
    ("text", "status", "code"),
    [
        (body(x=[[13, 1]]), 500, "model_error"),
        (body(x=[[1, 2, 3]]), 400, "wrong_shape"),
        (body(x=[[1], [2, 3]]), 400, "undecodable"),
        ("{'instances'}", 400, "undecodable"),
    ],
    ids=["the model fails", "another shape", "no tensor", "no JSON"],
)
def test_what_fails_says_why_and_their_client_returns_nothing(
    ask: Any, front_ends: dict[str, FrontEnd], text: str, status: int, code: str
) -> None:
    front_end = front_ends["serving_stream"]
    got, said = front_end.get("/predict", text.encode())
    assert (got, json.loads(said)["code"]) == (status, code)
    assert posted(ask(), front_end, text) == "[]"


def test_several_instances_are_several_predictions_and_several_outputs_a_list(front_ends: dict[str, FrontEnd]) -> None:
    text = json.dumps({"instances": [{"a": [[n, 2]], "b": [16777217 + n]} for n in range(3)]})
    status, said = front_ends["two"].get("/predict", text.encode())
    assert status == 200
    found = [json.loads(json.loads(each)["value"]) for each in json.loads(said)["predictions"]]
    assert [[output["data"] for output in outputs] for outputs in found] == [
        [[2 * n, 4], [np.float32(16777218 + n)]] for n in range(3)
    ]


def test_many_at_once_have_each_its_own_answer(front_ends: dict[str, FrontEnd]) -> None:
    def one(number: int) -> float:
        status, said = front_ends["scalar"].get("/predict", body(x=number).encode())
        assert status == 200, said
        return float(http_decoded(said)[0])

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(one, range(400))) == [2 * number for number in range(400)]


def test_clients_of_both_modes_share_a_job(
    ask: Any, published: Published, server: LocalRedis, front_ends: dict[str, FrontEnd], raw: Any
) -> None:
    """Neither takes the other's results, and answers over HTTP leave nothing behind."""
    with Client(published) as queues:
        for name, kind in (("in", "InputQueue"), ("out", "OutputQueue")):
            queues.new(name, kind, host="127.0.0.1", port=str(server.port), name="scalar")
        queues.call("in", "enqueue", "theirs", t={"array": [4.0]})
        assert posted(ask("scalar"), front_ends["scalar"], body(x=3))["array"] == [6]
        wait_for("their result", lambda: raw.exists("cluster-serving_scalar:theirs"))
        assert {uri: it["array"] for uri, it in queues.call("out", "dequeue").items()} == {"theirs": [8]}
    wait_for("an empty stream", lambda: raw.xlen("scalar") == 0)
    assert raw.keys("cluster-serving_scalar:*") == []


def test_our_own_client_asks_a_job_in_its_own_format(server: LocalRedis, deployment: Deployment) -> None:
    at = deployment.settings.routes["two"]
    with InputQueue("two", bootstrap=server.url, request_topic="two", result_topic=at.result_topic) as queue:
        got = queue.predict({"a": np.float32([[1, 2]]), "b": np.int64([7])}, timeout=60)
    assert isinstance(got, dict)
    assert {name: array.tolist() for name, array in got.items()} == {"p": [[2, 4]], "q": [8]}


def test_without_a_worker_there_is_no_answer_in_time_and_none_is_computed_later(
    server: LocalRedis, tmp_path: Path
) -> None:
    name = f"late-{uuid.uuid4().hex[:8]}"
    late = Deployment(tmp_path, server.url, jobs.sections(tmp_path, {"serving_stream": name}, "redis"))
    try:
        front_end = late.front_end("--timeout", "1").wait_until_ready()
        status, said = front_end.get("/predict", body(x=[[1, 2]]).encode())
        assert (status, json.loads(said)["code"]) == (504, "timed_out")
        worker = late.worker("late").wait_until_ready()
        outcome = 'outcome="deadline_exceeded"'
        wait_for("its end", lambda: outcome in worker.get("/metrics")[1])
    finally:
        late.close()


def test_a_redis_that_is_away_is_told_and_waited_for(tmp_path: Path) -> None:
    with LocalRedis(append_only=True) as local:
        sections = jobs.sections(tmp_path, {"serving_stream": "serving_stream"}, "redis")
        deployment = Deployment(tmp_path, local.url, sections)
        try:
            local.stop()
            front_end = deployment.front_end("--timeout", "2")
            wait_for("its page", lambda: front_end.get("/live")[0] == 200)
            assert front_end.get("/ready")[0] == 503
            status, said = front_end.get("/predict", body(x=[[1, 2]]).encode())
            assert (status, json.loads(said)["code"]) == (503, "connector_error")
            local.start()
            front_end.wait_until_ready()
            worker = deployment.worker("cs").wait_until_ready()
            assert http_decoded(front_end.get("/predict", body(x=[[1, 2]]).encode())[1]).tolist() == [3]
            local.stop()
            assert front_end.get("/predict", body(x=[[1, 2]]).encode())[0] == 503
            local.start()
            wait_for("an answer again", lambda: front_end.get("/predict", body(x=[[1, 2]]).encode())[0] == 200)
            worker.signal(signal.SIGTERM)
        finally:
            deployment.close()


def test_what_was_taken_is_answered_before_it_ends(server: LocalRedis, tmp_path: Path, raw: Any) -> None:
    name = f"last-{uuid.uuid4().hex[:8]}"
    last = Deployment(tmp_path, server.url, jobs.sections(tmp_path, {"serving_stream": name}, "redis"))
    found: list[tuple[int, str]] = []
    try:
        front_end = last.front_end("--timeout", "60").wait_until_ready()
        thread = threading.Thread(target=lambda: found.append(front_end.get("/predict", body(x=[[1, 2]]).encode())))
        thread.start()
        wait_for("the request", lambda: raw.xlen(name) == 1)
        front_end.signal(signal.SIGTERM)
        wait_for("that it listens no more", lambda: front_end.get("/live")[0] == 0)
        last.worker("last").wait_until_ready()
        thread.join()
        assert front_end.wait() == 0
        assert found[0][0] == 200
    finally:
        last.close()


def test_a_job_on_kafka_is_asked_too(kafka: Any, tmp_path: Path) -> None:
    name = f"http-{uuid.uuid4().hex[:8]}"
    deployment = Deployment(tmp_path, kafka.bootstrap, jobs.sections(tmp_path, {"serving_stream": name}, "kafka"))
    try:
        deployment.worker("cs").wait_until_ready()
        front_end = deployment.front_end().wait_until_ready()
        assert http_decoded(front_end.get("/predict", body(x=[[1, 2], [3, 4]]).encode())[1]).tolist() == [3, 7]
        status, said = front_end.get("/predict", body(x=[[13, 2]]).encode())
        assert (status, json.loads(said)["code"]) == (500, "model_error")
        status, said = front_end.get("/predict", body(x=[[1, 2]] * 200_000).encode())
        assert (status, json.loads(said)["code"]) == (413, "record_too_large")
    finally:
        deployment.close()
