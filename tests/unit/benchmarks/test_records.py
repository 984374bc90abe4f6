"""What the load generator writes and the rival answers is what ours reads and writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from benchmarks import model, produce
from benchmarks.avro_records import AvroRecord
from benchmarks.collect import account, by_row
from benchmarks.contenders.hand_written import Codec
from benchmarks.workload import Workload
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.codec import Limits

SCHEMAS = Path(__file__).parents[3] / "schemas"


def rows_of(pairs):
    record = AvroRecord("PredictRequest")
    return np.stack([np.frombuffer(record.decode(value)["inputs"][0]["data"], "<f4") for _, value in pairs])


def test_generated_requests_are_what_our_codec_writes():
    codec = AvroCodec()
    for key, value in produce.requests(3):
        request = codec.decode_request(value, Limits())
        assert request.id == key.decode()
        assert [(t.name, t.datatype, t.shape) for t in request.inputs] == [("x", "FP32", (1, 64))]
        assert codec.encode_request(request) == value


def test_the_rival_reads_requests_and_its_results_are_read_by_our_codec():
    rival = Codec(SCHEMAS)
    ((key, value),) = produce.requests(1)
    id_, data = rival.decode(value)
    assert id_ == key.decode()
    assert len(data) == 4 * model.FEATURES
    logits = np.arange(10, dtype=np.float32)
    result = AvroCodec().decode_result(rival.encode(id_, logits.tobytes()))
    assert (result.id, result.servable, result.version) == (id_, "mlp", 1)
    assert np.array_equal(result.outputs[0].array(), logits.reshape(1, 10))


def test_wrong_outputs_errors_and_losses_are_counted():
    pairs = list(produce.requests(4))
    requests = [AvroRecord("PredictRequest").decode(value) for _, value in pairs]
    right = model.expected(rows_of(pairs))
    right[1] += 1
    results = [
        {"id": request["id"], "error": None, "outputs": [{"data": row.tobytes()}]}
        for request, row in zip(requests, right, strict=True)
    ]
    results[2] = {"id": requests[2]["id"], "error": {"code": "not_ready"}, "outputs": []}
    one = account(requests, results[:3])
    assert (one["answered"], one["wrong"], one["errors"], one["lost"]) == (3, 1, 1, 1)


def test_no_results_at_all_are_all_lost():
    requests = [AvroRecord("PredictRequest").decode(value) for _, value in produce.requests(2)]
    assert account(requests, [])["lost"] == 2


def test_answers_of_another_workload_are_compared_with_those_of_its_runtime():
    load = Workload("squares", "x", "y", (2,), 2, 3)
    pairs = list(produce.requests(4, load))
    requests = [AvroRecord("PredictRequest").decode(value) for _, value in pairs]
    assert requests[0]["inputs"][0]["data"] == requests[3]["inputs"][0]["data"], "distinct rows come again"
    answers = load.rows() ** 2
    results = [
        {"id": request["id"], "error": None, "outputs": [{"data": (answers[number % 3] + (number == 1)).tobytes()}]}
        for number, request in enumerate(requests)
    ]
    one = account(requests, results, load, by_row(load, answers))
    assert (one["answered"], one["wrong"]) == (4, 1)
