"""A worker in front of more than it can hold, and one whose model fails on everything."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from pipeline.codecs.avro_codec import AvroCodec
from pipeline.records import PredictRequest, State
from pipeline.tensors import from_array
from tests.acceptance.conftest import Deploy
from tests.acceptance.reading import results
from tests.acceptance.workers import Deployment, Worker, wait_for

CODEC = AvroCodec()
LARGE = 1_250_000  # FP32: 5 MB
REQUESTS = 80
# The route's 64 MiB, what librdkafka fetches ahead, and a call. Without a bound it is all of them, and more than once.
MOST_MIB = 250

# Waits for the file `go` beside the settings.
MODEL = """
import time
from pathlib import Path

class Slow:
    inputs = {"x": ("FP32", [-1, 1250000])}
    outputs = {"y": ("FP32", [-1])}

    def predict(self, inputs):
        while not Path("go").exists():
            time.sleep(0.05)
        return {"y": inputs["x"][:, 0].copy()}
"""


def memory_mib(worker: Worker, field: str) -> float:
    lines = Path(f"/proc/{worker.popen.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(field))


def produce(it: Deployment, name: str, arrays: dict[str, np.ndarray]) -> None:
    producer = Producer({"bootstrap.servers": it.bootstrap, "message.max.bytes": 10_000_000})
    for id_, array in arrays.items():
        value = CODEC.encode_request(PredictRequest(id_, inputs=(from_array("x", array),)))
        producer.produce(it.settings.routes[name].request_topic, value, id_.encode())
        while len(producer) > 5:
            producer.poll(0.1)
    assert producer.flush(60) == 0


def notes(it: Deployment) -> list[str]:
    return [note for worker in it.fleet().workers for stream in worker.streams for note in stream.notes]


def allow(it: Deployment, topic: str, record_bytes: int) -> None:
    admin = AdminClient({"bootstrap.servers": it.bootstrap})
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    setting = ConfigEntry("max.message.bytes", str(record_bytes), incremental_operation=AlterConfigOpType.SET)
    resource.add_incremental_config(setting)
    for future in admin.incremental_alter_configs([resource]).values():
        future.result(20)


def test_requests_of_many_megabytes_wait_in_the_log_and_not_in_memory(deploy: Deploy, tmp_path: Path) -> None:
    stream = {"base_path": "models/slow", "kind": "python", "options": {"class": "slow_model:Slow"}}
    it = deploy(servables={"slow": stream}, routes={"slow": {}})
    (tmp_path / "slow_model.py").write_text(MODEL)
    it.drop("slow", 1, {"any": b"thing"})
    allow(it, it.settings.routes["slow"].request_topic, 10_000_000)
    worker = it.worker("one", "--watch").wait_until_ready()
    idle_mib = memory_mib(worker, "VmRSS:")
    produce(it, "slow", {str(number): np.full((1, LARGE), number, np.float32) for number in range(REQUESTS)})
    wait_for("a full route", lambda: 'penstock_batches_in_flight{route="slow"} 4.0' in worker.get("/metrics")[1])
    (tmp_path / "go").touch()
    found = results(it.bootstrap, it.settings.routes["slow"], REQUESTS)
    assert memory_mib(worker, "VmHWM:") - idle_mib < MOST_MIB
    assert sorted(int(result.id) for result in found) == list(range(REQUESTS))
    assert all(result.outputs[0].array().tolist() == [float(result.id)] for result in found)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0


def test_a_model_that_fails_on_everything_stops_its_route_until_a_version_comes_that_does_not(deploy: Deploy) -> None:
    """Thirteen is what the model raises at; version 2 is of another mind."""
    circuit = {"after_batches": 2, "action": "stop", "retry_after_s": 600}
    it = deploy(routes={"factor": {"max_batch_size": 5, "circuit": circuit}})
    model = it.folder / "factor_model.py"
    model.write_text(model.read_text().replace('(inputs["x"] == 13).any()', "self.factor == 1"))
    it.drop("factor", 1, {"factor": b"1"})
    worker = it.worker("one", "--watch").wait_until_ready()
    produce(it, "factor", {str(number): np.full((1, 1), number, np.float32) for number in range(200)})

    wait_for("the route stopped", lambda: worker.get("/ready")[0] == 503)
    page = json.loads(worker.get("/ready")[1])
    assert page["ready"] is False
    assert "thirteen is not served" in page["circuits"]["factor"]
    assert 'penstock_circuit_state{route="factor"} 2.0' in worker.get("/metrics")[1]
    wait_for("a note in the signs of life", lambda: any("its circuit is open" in note for note in notes(it)))
    assert worker.log.count("penstock versions rollback factor") == 1
    it.drop("factor", 2, {"factor": b"2"})
    it.wait_for_state(["one"], "factor", 2, State.AVAILABLE)
    found = results(it.bootstrap, it.settings.routes["factor"], 200)
    failed = [result.id for result in found if result.error is not None]
    assert 2 <= len(failed) <= 50
    assert sorted(int(result.id) for result in found) == list(range(200))
    assert all(result.version == 2 for result in found if result.error is None)
    wait_for("ready again", lambda: worker.get("/ready")[0] == 200)
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
