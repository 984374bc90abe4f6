"""What the load generator writes and the rival answers is what ours reads and writes."""

from __future__ import annotations

import json

import numpy as np

from benchmarks import model, probe, produce, wire
from benchmarks.avro_records import AvroRecord
from benchmarks.collect import account, by_row
from benchmarks.contenders.work import FastAvro, V2Json
from benchmarks.workload import Workload
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.codec import Limits
from pipeline.codecs.v2_json import V2JsonCodec


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


def test_the_rivals_read_requests_and_their_results_are_read_by_our_codec():
    rival = FastAvro()
    ((key, value),) = produce.requests(1)
    id_, data = rival.decode(value)
    assert id_ == key.decode()
    assert len(data) == 4 * model.FEATURES
    logits = np.arange(10, dtype=np.float32)
    result = AvroCodec().decode_result(rival.encode(id_, logits.tobytes()))
    assert (result.id, result.servable, result.version) == (id_, "mlp", 1)
    assert np.array_equal(result.outputs[0].array(), logits.reshape(1, 10))


def test_the_rival_in_v2_json_reads_requests_and_its_results_are_read_by_our_codec():
    rival = V2Json()
    ((key, value),) = produce.requests(1, wire_name=wire.V2_JSON)
    assert rival.decode(value) == (key.decode(), rows_of(produce.requests(1)).tobytes())
    logits = np.arange(10, dtype=np.float32)
    result = V2JsonCodec().decode_result(rival.encode("a", logits.tobytes()))
    assert (result.id, result.servable, result.version) == ("a", "mlp", 1)
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


def test_requests_in_v2_json_are_those_in_avro_and_our_codec_reads_them():
    json_wire = wire.named(wire.V2_JSON)
    for (key, value), (_, avro) in zip(produce.requests(3, wire_name=wire.V2_JSON), produce.requests(3), strict=True):
        request = V2JsonCodec().decode_request(value, Limits())
        assert request.id == key.decode()
        assert np.array_equal(request.inputs[0].array(), AvroCodec().decode_request(avro, Limits()).inputs[0].array())
        assert json_wire.request.decode(value)["inputs"][0]["data"] == request.inputs[0].data


def test_a_result_in_v2_json_is_accounted_like_one_in_avro():
    pairs = list(produce.requests(3, wire_name=wire.V2_JSON))
    records = wire.named(wire.V2_JSON)
    requests = [records.request.decode(value) for _, value in pairs]
    rows = np.stack([np.frombuffer(request["inputs"][0]["data"], "<f4") for request in requests])
    right = model.expected(rows)
    right[1] += 1
    bodies = [
        {
            "id": request["id"],
            "model_name": "mlp",
            "outputs": [{"name": "logits", "datatype": "FP32", "shape": [1, 10], "data": row.tolist()}],
        }
        for request, row in zip(requests, right, strict=True)
    ]
    bodies[2] = {"id": requests[2]["id"], "model_name": "mlp", "error": "no such model"}
    one = account(requests, [records.result.decode(json.dumps(body).encode()) for body in bodies])
    assert (one["answered"], one["wrong"], one["errors"], one["lost"]) == (3, 1, 1, 0)


def test_the_json_that_one_record_writes_is_the_json_that_it_reads():
    record = wire.named(wire.V2_JSON).result
    datum = {
        "id": "a",
        "error": None,
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [1, 2], "data": bytes(8)}],
    }
    assert record.decode(record.encode(datum)) == datum


def test_requests_take_turns_among_streams():
    record = AvroRecord("PredictRequest")
    streams = produce.stream_names(2)
    asked = [record.decode(value)["servable"] for _, value in produce.requests(5, streams=streams)]
    assert asked == [streams[0], streams[1], streams[0], streams[1], streams[0]]
    assert {record.decode(value)["servable"] for _, value in produce.requests(2, streams=produce.stream_names(0))} == {
        ""
    }


def test_the_key_of_a_probe_names_its_partition():
    keys = [probe.key_of(partition, 7) for partition in (0, 3, 12)]
    assert all(key.startswith(probe.PREFIX) for key in keys)
    assert [probe.partition_of(key) for key in keys] == [0, 3, 12]
    (value,) = probe.values(keys[:1], wire.AVRO)
    assert AvroRecord("PredictRequest").decode(value)["id"] == keys[0].decode()
