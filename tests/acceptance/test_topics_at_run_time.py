"""A worker on topics that are made, that grow, and that are set up wrong, while it runs or before it starts."""

from __future__ import annotations

import uuid
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Producer

from pipeline.client import InputQueue
from pipeline.client.address import reply_partition
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.control.topic_admin import alter, create_missing
from pipeline.control.topic_findings import Finding
from pipeline.control.topics import TopicSpec
from pipeline.records import PredictRequest, PredictResult
from pipeline.tensors import from_array
from tests.acceptance.conftest import Deploy
from tests.acceptance.reading import read
from tests.acceptance.workers import wait_for

CODEC = AvroCodec()
TENSOR = from_array("x", np.array([[2.0]], np.float32))


@pytest.fixture
def quick(kafka: Any) -> dict[str, Any]:
    """The section `kafka` of a worker that hears of new topics and partitions at once."""
    return {
        "bootstrap.servers": kafka.bootstrap,
        "session.timeout.ms": 6000,
        "topic.metadata.refresh.interval.ms": 300,
    }


def create(bootstrap: str, *topics: str) -> None:
    create_missing({"bootstrap.servers": bootstrap}, [TopicSpec(topic, 2, {}, "test") for topic in topics])


def send(bootstrap: str, topic: str, id_: str, partition: int, value: bytes | None = None) -> None:
    """Send until the partition is there: the broker may be a moment behind its own answer."""

    def is_sent() -> bool:
        outcome: list[Any] = []
        producer = Producer({"bootstrap.servers": bootstrap, "topic.metadata.propagation.max.ms": 1000})
        body = value or CODEC.encode_request(PredictRequest(id_, inputs=(TENSOR,)))
        headers = [("x-request-id", id_.encode())]
        producer.produce(
            topic, body, id_.encode(), partition, headers=headers, on_delivery=lambda error, _: outcome.append(error)
        )
        producer.flush(10)
        return outcome == [None]

    wait_for(f"{topic}[{partition}] takes a request", is_sent)


def results(bootstrap: str, topic: str, count: int) -> dict[str, tuple[int, PredictResult]]:
    """Return partition and result by id."""
    found = [(message.partition(), CODEC.decode_result(message.value())) for message in read(bootstrap, topic, count)]
    assert len(found) == count
    return {result.id: (partition, result) for partition, result in found}


def test_every_topic_that_matches_a_pattern_is_answered_on_its_own_results_also_one_that_is_made_later(
    deploy: Deploy, quick: dict[str, Any]
) -> None:
    unique = uuid.uuid4().hex[:8]
    first, later = f"{unique}.eu.requests", f"{unique}.us.requests"
    bootstrap = quick["bootstrap.servers"]
    create(bootstrap, first)
    route = {
        "request_topic": rf"^{unique}\.[a-z]+\.requests",
        "result_topic": "{request_topic}.results",
        "dead_letter_topic": "{request_topic}-dlt",
    }
    it = deploy(kafka=quick, routes={"factor": route})  # creates results and dead letters of the first one
    it.drop("factor", 1, {"factor": b"10"})
    worker = it.worker("one", "--watch").wait_until_ready()
    send(bootstrap, first, "a", 1)
    send(bootstrap, first, "b", 0, b"no request")
    by_id = results(bootstrap, f"{first}.results", 2)
    assert by_id["a"][0] == 1
    assert by_id["a"][1].outputs[0].array().tolist() == [[20.0]]
    [letter] = read(bootstrap, f"{first}-dlt", 1)
    assert letter.value() == b"no request"

    create(bootstrap, f"{later}.results", f"{later}-dlt")
    create(bootstrap, later)
    send(bootstrap, later, "c", 1)
    [(partition, result)] = results(bootstrap, f"{later}.results", 1).values()
    assert (partition, result.id) == (1, "c")
    assert result.source is not None
    assert result.source.topic == later
    assert len(read(bootstrap, f"{first}.results", 2)) == 2  # and it has not read what it wrote
    assert "[[30.]]" in it.run("predict", "factor", "[[3.0]]", "--topic", later).stdout
    assert worker.popen.poll() is None


def test_partitions_that_are_added_are_read_and_answered_on_the_same_number(
    deploy: Deploy, quick: dict[str, Any]
) -> None:
    it = deploy(kafka=quick)
    it.drop("factor", 1, {"factor": b"10"})
    it.worker("one", "--watch").wait_until_ready()
    route, bootstrap = it.settings.routes["factor"], it.bootstrap
    send(bootstrap, route.request_topic, "before", 0)  # its producer knows four partitions from now on
    assert results(bootstrap, route.result_topic, 1)["before"][0] == 0

    # Whoever listens on a partition that the worker has not heard of is answered there.
    alter(it.settings.kafka, [Finding(route.result_topic, "", "", partitions=6)])
    name = next(name for name in (f"client-{n}" for n in range(1000)) if reply_partition(name, 6) == 5)
    place = {"request_topic": route.request_topic, "result_topic": route.result_topic, "client_id": name}
    with InputQueue("factor", bootstrap=bootstrap, **place) as client:
        answer = client.predict({"x": np.array([[3.0]], np.float32)}, timeout=20)
    assert np.asarray(answer).tolist() == [[30.0]]

    # The other way of asking for more: the settings' own.
    done = it.run("topics", "--alter", "--partitions", "6")
    assert "changed" in done.stdout
    send(bootstrap, route.request_topic, "after", 5)
    by_id = results(bootstrap, route.result_topic, 3)
    assert (by_id["after"][0], by_id["after"][1].error) == (5, None)


def test_a_worker_does_not_run_on_a_request_topic_that_is_compacted(deploy: Deploy) -> None:
    it = deploy()
    topic = it.settings.routes["factor"].request_topic
    alter(it.settings.kafka, [Finding(topic, "", "", fix={"cleanup.policy": "compact"})])
    worker = it.worker("one")
    assert worker.wait() != 0
    assert f"WrongTopic: topic {topic}: cleanup.policy is 'compact'" in worker.log
    assert "penstock topics --alter" in worker.log

    checked = it.attempt("check")
    assert checked.returncode == 1
    assert "requests of one key" in checked.stdout
    assert "would be changed" in it.attempt("topics", "--alter", "--dry-run").stdout
    assert it.attempt("topics").returncode == 1
    assert it.run("topics", "--alter").returncode == 0
