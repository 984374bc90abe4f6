"""A request that kills every worker that computes it: set aside, and answered, when it has killed four."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from confluent_kafka import Producer

from pipeline.codecs.avro_codec import AvroCodec
from pipeline.dead_letters import headers
from pipeline.records import PredictRequest, PredictResult
from pipeline.tensors import from_array
from tests.acceptance.conftest import Deploy
from tests.acceptance.test_bad_requests import read
from tests.acceptance.workers import wait_for

CODEC = AvroCodec()
MODEL = """
import os
import signal
import numpy as np

class Deadly:
    inputs = {"x": ("FP32", [-1, 1])}
    outputs = {"y": ("FP32", [-1, 1])}

    def predict(self, inputs):
        if (inputs["x"] == 13).any():
            os.kill(os.getpid(), signal.SIGKILL)
        return {"y": inputs["x"]}
"""
REQUESTS, POISON = 60, 31


def request(id_: str, x: float) -> bytes:
    return CODEC.encode_request(PredictRequest(id_, inputs=(from_array("x", np.array([[x]], np.float32)),)))


def results(bootstrap: str, topic: str) -> list[PredictResult]:
    return [CODEC.decode_result(message.value()) for message in read(bootstrap, topic, 0)]


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_request_that_kills_workers_is_set_aside_after_four_and_its_neighbours_are_answered(
    deploy: Deploy,
) -> None:
    it = deploy(
        servables={"factor": {"base_path": "models/factor", "kind": "python", "options": {"class": "deadly:Deadly"}}},
        routes={
            "factor": {
                "max_batch_size": 16,
                "max_batches_in_flight": 2,
            }
        },
        # A static member comes back to its partitions at once, instead of after the session timeout.
        worker={"static_membership": True},
    )
    (it.folder / "deadly.py").write_text(MODEL)
    it.drop("factor", 1, {"factor": b"1"})
    it.watcher()
    route = it.settings.routes["factor"]
    producer = Producer({"bootstrap.servers": it.bootstrap})
    for n in range(REQUESTS):  # in one partition, so that all of them are neighbours
        value = request(str(n), 13.0 if n == POISON else n + 100.0)
        producer.produce(route.request_topic, value, b"key", partition=1, headers=[("mine", b"\xfe")])
    assert producer.flush(20) == 0

    for life in range(4):
        assert it.worker("one").wait(60) == -9, life
    last = it.worker("one")

    def all_answered() -> dict[str, list[PredictResult]] | None:
        by_id: dict[str, list[PredictResult]] = {}
        for result in results(it.bootstrap, route.result_topic):
            by_id.setdefault(result.id, []).append(result)
        return by_id if len(by_id) == REQUESTS else None

    by_id = wait_for("all are answered", all_answered)
    codes = {id_: {result.error and result.error.code for result in found} for id_, found in by_id.items()}
    assert {id_: found for id_, found in codes.items() if found != {None}} == {str(POISON): {"poison_record"}}
    # Only what was in flight at the first kill may be doubled; from then on requests are taken one by one.
    counts = Counter({id_: len(found) for id_, found in by_id.items()})
    assert counts[str(POISON)] == 1
    assert set(counts.values()) <= {1, 2}
    assert sum(counts.values()) - REQUESTS <= 16 * 2

    [letter] = read(it.bootstrap, route.dead_letter_topic, 1)
    assert (letter.partition(), letter.key(), letter.value()) == (1, b"key", request(str(POISON), 13.0))
    said = headers.read(letter.headers())
    assert (said.own, said.code, said.attempts) == ((("mine", b"\xfe"),), "poison_record", 4)
    assert (said.topic, said.partition, said.offset) == (route.request_topic, 1, POISON)
    producer.produce(route.request_topic, request("after", 1.0), b"key", partition=1)
    assert producer.flush(20) == 0
    wait_for("the route goes on", lambda: "after" in {one.id for one in results(it.bootstrap, route.result_topic)})
    assert last.popen.poll() is None
