"""On a live worker: each bad request has one error result with its code, and its neighbours their answers."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from confluent_kafka import Producer

from pipeline.codecs.avro_codec import AvroCodec
from pipeline.records import PredictRequest, PredictResult
from pipeline.tensors import from_array
from tests.acceptance.conftest import Deploy
from tests.acceptance.reading import read

CODEC = AvroCodec()
GOOD = from_array("x", np.array([[2.0]], np.float32))


def bad_requests() -> dict[str, bytes]:
    def request(code: str, tensor: Any = GOOD, **more: Any) -> bytes:
        return CODEC.encode_request(PredictRequest(code, inputs=(tensor,), **more))

    return {
        "unknown_servable": request("unknown_servable", servable="nobody"),
        "unknown_version": request("unknown_version", version=99),
        "unknown_input": request("unknown_input", from_array("z", np.array([[2.0]], np.float32))),
        "wrong_datatype": request("wrong_datatype", from_array("x", np.array([[2]], np.int64))),
        "wrong_shape": request("wrong_shape", from_array("x", np.zeros((1, 7), np.float32))),
        "model_error": request("model_error", from_array("x", np.array([[13.0]], np.float32))),
        "deadline_exceeded": request("deadline_exceeded", deadline_ms=int(time.time() * 1000) - 1),
        "undecodable": b"\x00\xff these bytes are no request",
        "record_too_large": request("record_too_large", from_array("x", np.zeros((5000, 1), np.float32))),
        "no_inputs": CODEC.encode_request(PredictRequest("no_inputs")),
    }


def test_each_bad_request_has_its_code_and_each_neighbour_its_answer(deploy: Deploy) -> None:
    it = deploy(routes={"factor": {"max_record_bytes": 10_000, "max_wait_ms": 100}})
    it.drop("factor", 1, {"factor": b"10"})
    it.worker("one", "--watch").wait_until_ready()
    route = it.settings.routes["factor"]
    bad = bad_requests()
    producer = Producer({"bootstrap.servers": it.bootstrap, "linger.ms": 50})
    for code, value in bad.items():
        good = CODEC.encode_request(PredictRequest(f"beside {code}", inputs=(GOOD,)))
        headers = [("x-request-id", code.encode()), ("mine", b"\xfe")]
        for record in ((value, headers), (good, [])):
            producer.produce(route.request_topic, record[0], b"key", headers=record[1])
    assert producer.flush(20) == 0

    messages = read(it.bootstrap, route.result_topic, 2 * len(bad))
    results = [CODEC.decode_result(message.value()) for message in messages]
    by_id: dict[str, PredictResult] = {result.id: result for result in results}
    assert len(results) == len(by_id) == 2 * len(bad)
    for code in bad:
        error = by_id[code].error
        assert error is not None
        assert error.code == code
        assert len(error.message) > 10
        beside = by_id[f"beside {code}"]
        assert beside.error is None
        assert beside.outputs[0].array().tolist() == [[20.0]]
    statuses = {dict(message.headers() or []).get("error-code", b"").decode() for message in messages}
    assert statuses == {*bad, ""}

    letters = read(it.bootstrap, route.dead_letter_topic, 2)
    assert sorted(letter.value() for letter in letters) == sorted([bad["undecodable"], bad["record_too_large"]])
    for letter in letters:
        headers = letter.headers()
        assert letter.key() == b"key"
        assert headers[1] == ("mine", b"\xfe")
        reason = dict(headers)
        assert reason["penstock-error-code"].decode() in ("undecodable", "record_too_large")
        assert reason["kafka_dlt-original-topic"].decode() == route.request_topic
        assert int.from_bytes(reason["kafka_dlt-original-offset"], "big") >= 0


def test_an_answer_to_a_partition_that_does_not_exist_is_an_error_on_one_that_does(deploy: Deploy) -> None:
    """The caller's mistake does not stop the worker."""
    it = deploy()
    it.drop("factor", 1, {"factor": b"10"})
    worker = it.worker("one", "--watch").wait_until_ready()
    route = it.settings.routes["factor"]
    producer = Producer({"bootstrap.servers": it.bootstrap})
    value = CODEC.encode_request(PredictRequest("lost?", inputs=(GOOD,)))
    producer.produce(route.request_topic, value, headers=[("reply_partition", b"77")])
    producer.flush(10)
    [message] = read(it.bootstrap, route.result_topic, 1)
    error = CODEC.decode_result(message.value()).error
    assert error is not None
    assert error.code == "reply_refused"
    assert worker.popen.poll() is None
