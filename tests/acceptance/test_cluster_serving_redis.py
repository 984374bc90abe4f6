"""Both published clients, unmodified, against a worker on a real Redis: every way in which they ask and read."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.local.redis import LocalRedis
from tests.acceptance.cluster_serving import jobs
from tests.acceptance.cluster_serving.clients import BIGDL, ZOO, Client, Published, array, queues
from tests.acceptance.workers import Deployment, wait_for
from tests.unit.codecs import ancestor_bytes as theirs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
PUBLISHED = {"bigdl": BIGDL, "zoo": ZOO}
WHOLE = theirs.stream({"t": theirs.tensor([[1, 2]])})


@pytest.fixture(scope="module")
def worker(server: LocalRedis, raw: Any, tmp_path_factory: Any) -> Iterator[Deployment]:
    """A worker that was started after clients had filled a stream, and had made its group begin at the end."""
    for published in PUBLISHED.values():
        with queues(published, server.port) as early:
            early.call("in", "enqueue", f"early-{published.requirement}", x=array([[1, 1]]))
        with queues(published, server.port):
            groups = raw.xinfo_groups("serving_stream")
            assert [(group["name"], group["consumers"]) for group in groups] == [(b"serving", 0)]
    assert raw.xinfo_groups("serving_stream")[0]["last-delivered-id"] != b"0-0"
    folder: Path = tmp_path_factory.mktemp("jobs")
    names = {job: job for job in jobs.CLASSES}
    deployment = Deployment(folder, server.url, jobs.sections(folder, names, "redis"))
    try:
        deployment.worker("cs").wait_until_ready()
        yield deployment
    finally:
        deployment.close()


@pytest.fixture(params=list(PUBLISHED))
def published(request: Any, worker: Deployment) -> Published:
    del worker
    return PUBLISHED[request.param]


@pytest.fixture
def ask(published: Published, server: LocalRedis) -> Iterator[Any]:
    """Return the queues of a job; they are closed at the end."""
    made: list[Client] = []

    def make(name: str = "") -> Client:
        made.append(queues(published, server.port, name))
        return made[-1]

    yield make
    for client in made:
        client.close()


def answer(client: Client, uri: str, method: str = "query") -> Any:
    """Return a result as soon as there is one."""
    found: list[Any] = []

    def has_come() -> bool:
        value = client.call("out", method, uri)
        if value == "[]":
            return False
        found.append(value)
        return True

    wait_for(f"the result of {uri}", has_come, every_s=0.02)
    return found[0]


def enqueued(client: Client, **data: Any) -> Any:
    uri = f"u-{time.monotonic_ns()}"
    client.call("in", "enqueue", uri, **data)
    return answer(client, uri, "query_and_delete")


def values(result: Any) -> Any:
    """The elements of an array, or of a list of arrays."""
    return [item["array"] for item in result] if isinstance(result, list) else result["array"]


def test_what_was_asked_before_the_worker_came_is_answered(ask: Any, published: Published) -> None:
    assert values(answer(ask(), f"early-{published.requirement}")) == [2]


def test_query_keeps_a_result_and_query_and_delete_takes_it(ask: Any, raw: Any) -> None:
    client = ask()
    client.call("in", "enqueue", "kept", t=array([[1, 2], [3, 4]]))
    assert values(answer(client, "kept")) == [3, 7]
    assert answer(client, "kept", "query_and_delete")["dtype"] == "float32"
    assert client.call("out", "query", "kept") == "[]"
    assert raw.exists("cluster-serving_serving_stream:kept") == 0


def test_dequeue_returns_all_results_and_takes_them(ask: Any, raw: Any) -> None:
    client = ask("scalar")
    for number in range(20):
        client.call("in", "enqueue", f"d{number}", t=array([number]))
    wait_for("all results", lambda: len(raw.keys("cluster-serving_scalar:*")) == 20)
    found = client.call("out", "dequeue")
    assert {uri: values(it) for uri, it in found.items()} == {f"d{n}": [2 * n] for n in range(20)}
    assert client.call("out", "dequeue") == {}


@pytest.mark.parametrize(
    ("request_data", "expected"),
    [
        (array([[1, 2]]), [3]),
        ({"x": array([[1, 2]])}, [3]),
        (json.dumps({"instances": [{"x": [[1, 2], [5, 5]]}]}), [3, 10]),
    ],
    ids=["an array", "a dict", "JSON"],
)
def test_predict_returns_the_result(ask: Any, request_data: Any, expected: Any) -> None:
    assert values(ask().call("in", "predict", request_data)) == expected


def test_a_row_without_a_batch_axis_is_answered_with_a_row(ask: Any) -> None:
    assert enqueued(ask(), t=array([4, 5])) == {"dtype": "float32", "shape": [], "array": 9}
    assert enqueued(ask("scalar"), t=array(3))["array"] == 6


def test_two_inputs_by_name_and_two_outputs(ask: Any) -> None:
    client = ask("two")
    assert values(enqueued(client, b=array([7], "int64"), a=array([[1, 2]]))) == [[[2, 4]], [8]]
    assert values(enqueued(client, first=array([[1, 2]]), second=array([7]))) == [[[2, 4]], [8]]


def test_sparse_tensors_in_both_orientations(ask: Any) -> None:
    client = ask("sparse")
    expected = [[0] * 10 for _ in range(5)]
    expected[0][0], expected[1][2], expected[4][5] = 1, 2, 3
    for indices in ([[0, 1, 4], [0, 2, 5]], [[0, 0], [1, 2], [4, 5]]):
        got = enqueued(client, t=[array(indices, "int64"), array([1, 2, 3]), array([5, 10], "int64")])
        assert values(got) == expected


def test_texts_also_a_single_one_and_one_with_a_bar(ask: Any) -> None:
    client = ask("words")
    assert enqueued(client, t=["a", "bcd"]) == {"dtype": "int64", "shape": [2], "array": [1, 3]}
    assert values(enqueued(client, t=["single"])) == [6]
    assert values(enqueued(client, t=["a|bc"])) == [1, 2]  # nobody can tell it from two


def test_an_image_as_base64_and_by_its_path(ask: Any, tmp_path: Path) -> None:
    client = ask("pixels")
    picture = np.zeros((4, 8, 3), np.uint8)
    picture[:, :, 0], picture[:, :, 2] = 40, 200  # blue, and red
    path = tmp_path / "picture.png"
    cv2.imwrite(str(path), picture)
    assert values(enqueued(client, t={"b64": base64.b64encode(path.read_bytes()).decode()})) == [40, 0, 200]
    for by_path in (str(path), {"path": str(path)}):  # it makes a JPEG of it, which loses a little
        assert np.allclose(values(enqueued(client, t=by_path)), [40, 0, 200], atol=3)


def test_outputs_that_their_server_could_not_send(ask: Any, raw: Any) -> None:
    assert enqueued(ask("deep"), t=array([[1, 2]])) == {"dtype": "float64", "shape": [1, 2], "array": [[1, 2]]}
    client = ask("nothing")
    client.call("in", "enqueue", "empty", t=array([[1, 2]]))
    assert answer(client, "empty") == "NaN"
    assert raw.hget("cluster-serving_nothing:empty", "error-code") == b"not_representable"
    raw.delete("cluster-serving_nothing:empty")


def test_a_request_that_fails_is_nan_with_the_reason_beside_it_and_alone(ask: Any, raw: Any) -> None:
    client = ask()
    for number, row in enumerate([[1, 1], [13, 1], [2, 2], [1, 2, 3]]):
        client.call("in", "enqueue", f"f{number}", t=array([row]))
    assert [answer(client, f"f{number}") for number in (1, 3)] == ["NaN", "NaN"]
    assert [values(answer(client, f"f{number}")) for number in (0, 2)] == [[2], [4]]
    kept = raw.hgetall("cluster-serving_serving_stream:f1")
    assert kept[b"error-code"] == b"model_error"
    assert b"thirteen is not served" in kept[b"error"]
    assert raw.hget("cluster-serving_serving_stream:f3", "error-code") == b"wrong_shape"
    for number in range(4):
        client.call("out", "query_and_delete", f"f{number}")


def test_the_tensor_file_of_the_deprecated_call_is_answered(ask: Any) -> None:
    client = ask("two")
    client.call("in", "enqueue_tensor", "old", [array([[1, 2]]), array([7])])
    assert values(answer(client, "old", "query_and_delete")) == [[[2, 4]], [8]]


def test_a_uri_may_have_a_colon_be_a_number_or_come_again(ask: Any, raw: Any) -> None:
    client = ask()
    client.call("in", "enqueue", "a:b", t=array([[1, 2]]))
    assert values(answer(client, "a:b", "query_and_delete")) == [3]
    client.call("in", "enqueue", 4711, t=array([[1, 2]]))
    assert values(answer(client, "4711", "query_and_delete")) == [3]
    client.call("in", "enqueue", "again", t=array([[1, 2]]))
    assert values(answer(client, "again")) == [3]
    client.call("in", "enqueue", "again", t=array([[1, 5]]))
    wait_for("the last word", lambda: values(client.call("out", "query", "again")) == [6])
    raw.delete("cluster-serving_serving_stream:again")


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"uri": "h", "data": "???"}, b"undecodable"),
        ({"uri": "h", "data": base64.b64encode(b"ARROW1\0\0junk").decode()}, b"undecodable"),
        ({"uri": "h", "data": base64.b64encode(WHOLE[: len(WHOLE) // 2]).decode()}, b"undecodable"),
        ({"uri": "h", "data": base64.b64encode(b"\xff\xff\xff\xff\xff\xff\xff\x7f").decode()}, b"undecodable"),
        ({"uri": "h", "data": '{"instances": [{"x": [[1, 2]]}, {"x": [[3, 4]]}]}', "serde": "stream"}, b"undecodable"),
        ({"uri": "h", "image": "x"}, b"undecodable"),
        ({"uri": "h", "data": '{"instances": [{}]}', "serde": "stream"}, b"no_inputs"),
        ({"uri": "h", "data": b"\xff\xfe"}, b"undecodable"),
    ],
)
def test_hostile_entries_are_answered_and_acknowledged(worker: Deployment, raw: Any, fields: Any, code: bytes) -> None:
    del worker
    raw.xadd("serving_stream", fields)
    kept = wait_for("the answer", lambda: raw.hgetall("cluster-serving_serving_stream:h"))
    assert (kept[b"value"], kept[b"error-code"]) == (b"NaN", code)
    raw.delete("cluster-serving_serving_stream:h")
    if code == b"undecodable":
        [(_, letter)] = raw.xrevrange("serving_stream-dlt", count=1)
        assert {name: letter[name.encode()] for name in fields} == {
            name: value if isinstance(value, bytes) else value.encode() for name, value in fields.items()
        }


def test_json_instances_of_a_jvm_front_end_are_answered(worker: Deployment, raw: Any) -> None:
    del worker
    data = json.dumps({"instances": [{"a": [[1, 2]], "b": [16777217]}]})
    raw.xadd("two", {"uri": "j", "data": data, "serde": "stream"})
    assert wait_for("the answer", lambda: raw.hget("cluster-serving_two:j", "value")) != b"NaN"
    raw.delete("cluster-serving_two:j")


def test_nothing_is_left_behind(worker: Deployment, raw: Any) -> None:
    """Whatever was asked before is acknowledged, and deleted from its stream."""
    del worker
    for name in jobs.CLASSES:
        wait_for(f"{name} to be empty", lambda name=name: raw.xlen(name) == 0)
        [group] = [each for each in raw.xinfo_groups(name) if each["name"] == b"serving"]
        assert group["pending"] == 0
