"""The published Kafka client, unmodified, against a worker on a real Kafka."""

from __future__ import annotations

import base64
import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from tests.acceptance.cluster_serving import jobs
from tests.acceptance.cluster_serving.clients import BIGDL, Client, array
from tests.acceptance.workers import Deployment, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def bootstrap(kafka: Any) -> str:
    found: str = kafka.bootstrap
    return found


@pytest.fixture(scope="module")
def names() -> dict[str, str]:
    """Topics that nobody else has, by job."""
    return {job: f"{job}-{uuid.uuid4().hex[:8]}" for job in ("serving_stream", "two", "words")}


@pytest.fixture(scope="module", autouse=True)
def worker(bootstrap: str, names: dict[str, str], tmp_path_factory: Any) -> Iterator[Deployment]:
    folder: Path = tmp_path_factory.mktemp("jobs")
    deployment = Deployment(folder, bootstrap, jobs.sections(folder, names, "kafka"))
    try:
        deployment.worker("cs").wait_until_ready()
        yield deployment
    finally:
        deployment.close()


@pytest.fixture
def ask(bootstrap: str, names: dict[str, str]) -> Iterator[Any]:
    """Return a client with the queues of a job."""
    host, _, port = bootstrap.partition(":")
    made: list[Client] = []

    def make(job: str) -> Client:
        client = Client(BIGDL, "bigdl.serving.kafka.client")
        made.append(client)
        name = names.get(job, job)
        client.new("in", "InputQueue", host=host, port=port, topic_name=name)
        group, topic = f"test-{uuid.uuid4().hex[:8]}", f"cluster-serving_{name}"
        client.new("out", "OutputQueue", host=host, port=port, group_id=group, topic_name=topic)
        return client

    yield make
    for client in made:
        client.close()


def dequeued(client: Client, *uris: str) -> dict[str, Any]:
    """Return the results of these requests."""
    found: dict[str, Any] = {}

    def have_come() -> bool:
        found.update(client.call("out", "dequeue"))
        return set(uris) <= set(found)

    wait_for(f"the results of {uris}", have_come)
    return {uri: found[uri] for uri in uris}


def test_results_come_under_the_plain_uri(ask: Any) -> None:
    client = ask("serving_stream")
    for number in range(10):
        client.call("in", "enqueue", f"a:{number}", t=array([[number, 1]]))
    got = dequeued(client, *[f"a:{number}" for number in range(10)])
    assert {uri: it["array"] for uri, it in got.items()} == {f"a:{number}": [number + 1] for number in range(10)}


def test_several_outputs_texts_and_numbers_as_uris(ask: Any) -> None:
    two, words = ask("two"), ask("words")
    two.call("in", "enqueue", "two", a=array([[1, 2]]), b=array([7]))
    assert [it["array"] for it in dequeued(two, "two")["two"]] == [[[2, 4]], [8]]
    words.call("in", "enqueue", 4711, t=["a", "bcd"])
    assert dequeued(words, "4711")["4711"]["array"] == [1, 3]


def test_results_of_all_processes_are_shared_where_they_name_no_group(ask: Any, bootstrap: str) -> None:
    """What they do: one of them has a result, whoever asked for it."""
    job = f"nobody-{uuid.uuid4().hex[:8]}"
    topic = f"cluster-serving_{job}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1)])[topic].result(30)
    host, _, port = bootstrap.partition(":")
    one, other = ask(job), ask(job)
    for client in (one, other):
        client.new("shared", "OutputQueue", host=host, port=port, topic_name=topic)

    def share_a_group() -> bool:
        for client in (one, other):
            client.call("shared", "dequeue")
        members = admin.describe_consumer_groups(["group-1"])["group-1"].result(30).members
        mine = [member for member in members if member.assignment is not None]
        return len(mine) == 2 and sorted(len(member.assignment.topic_partitions) for member in mine) == [0, 1]

    wait_for("one of them to have the only partition", share_a_group)


def test_a_failure_does_not_cost_the_client_its_other_results(ask: Any, bootstrap: str, names: dict[str, str]) -> None:
    client = ask("serving_stream")
    client.call("in", "enqueue", "good", t=array([[1, 2]]))
    client.call("in", "enqueue", "bad", t=array([[13, 2]]))
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(names["serving_stream"], json.dumps({"uri": "worse", "data": "???"}), json.dumps("worse"))
    assert producer.flush(10) == 0
    got = dequeued(client, "good", "bad", "worse")
    assert got["good"]["array"] == [3]
    assert [str(got[uri]["array"]) for uri in ("bad", "worse")] == ["[nan]", "[nan]"]


def test_the_topic_says_why_a_request_has_failed(ask: Any, bootstrap: str, names: dict[str, str]) -> None:
    client = ask("serving_stream")
    client.call("in", "enqueue", "why", t=array([[13, 2]]))
    options = {"bootstrap.servers": bootstrap, "group.id": uuid.uuid4().hex, "auto.offset.reset": "earliest"}
    consumer = Consumer(options)
    consumer.subscribe([f"cluster-serving_{names['serving_stream']}"])
    headers: dict[str, Any] = {}

    def found() -> bool:
        message = consumer.poll(1.0)
        if message is not None and message.key() == b"why":
            headers.update(message.headers() or [])
        return bool(headers)

    wait_for("the result", found)
    consumer.close()
    assert headers["error-code"] == b"model_error"
    assert b"thirteen is not served" in headers["error"]


def test_the_text_nan_is_what_their_client_does_not_survive(ask: Any, bootstrap: str) -> None:
    """Why a failure is an array there: it has committed by then, and what came with it is lost."""
    job = f"nobody-{uuid.uuid4().hex[:8]}"
    topic = f"cluster-serving_{job}"
    admin = AdminClient({"bootstrap.servers": bootstrap})
    admin.create_topics([NewTopic(topic, 1)])[topic].result(30)
    client = ask(job)
    producer = Producer({"bootstrap.servers": bootstrap})
    producer.produce(topic, base64.b64encode(b"no stream"), "x")
    producer.produce(topic, "NaN", "y")
    assert producer.flush(10) == 0
    said = wait_for("its end", lambda: _raised(client.attempt("out", "dequeue")))
    assert said["raised"] in ("Error", "ArrowInvalid")


def _raised(said: dict[str, Any]) -> dict[str, Any] | None:
    return said if "raised" in said else None
