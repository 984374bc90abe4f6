"""One worker, one good stream and three bad ones in processes: each request is answered, and nobody else notices."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from confluent_kafka import Producer

from pipeline.codecs.avro_codec import AvroCodec
from pipeline.records import PredictRequest, PredictResult, State
from pipeline.tensors import from_array
from tests.acceptance.conftest import Deploy
from tests.acceptance.reading import results
from tests.acceptance.traffic import Traffic
from tests.acceptance.workers import Deployment, wait_for
from tests.unit.isolation.obedient import is_asleep

CODEC = AvroCodec()
TIMEOUT_S = 4.0
# Less than a hang may take: whoever waited for one is seen.
PATIENCE_S = 3.0
BAD = {"crashing": "servable_died", "killed": "servable_died", "hanging": "predict_timed_out"}

# A row with 13 does what the version's file `deed` says.
MODEL = """
import ctypes, os, time
import numpy as np

class Bad:
    inputs = {"x": ("FP32", [-1, 1])}
    outputs = {"y": ("FP32", [-1, 1]), "pid": ("INT64", [-1, 1])}

    def load(self, path):
        self.deed = (path / "deed").read_text()

    def predict(self, inputs):
        if (inputs["x"] == 13).any():
            {"crashing": lambda: ctypes.string_at(0), "killed": lambda: os.kill(os.getpid(), 9),
             "hanging": lambda: ctypes.PyDLL(None).sleep(600)}[self.deed]()
        return {"y": inputs["x"] * 2, "pid": np.full(inputs["x"].shape, os.getpid())}
"""


def test_servables_that_crash_hang_or_are_killed_cost_nobody_else_anything(deploy: Deploy, tmp_path: Path) -> None:
    bad = {
        "kind": "python",
        "options": {"class": "bad_model:Bad"},
        "isolation": "process",
        "predict_timeout_s": TIMEOUT_S,
    }
    good = {"base_path": "models/factor", "kind": "python", "options": {"class": "factor_model:Factor"}}
    it = deploy(
        servables={"factor": good, **{name: {**bad, "base_path": f"models/{name}"} for name in BAD}},
        routes={"factor": {}, **{name: {"max_batch_size": 64} for name in BAD}},
    )
    (tmp_path / "bad_model.py").write_text(MODEL)
    it.drop("factor", 1, {"factor": b"10"})
    for name in BAD:
        it.drop(name, 1, {"deed": name.encode()})
    worker = it.worker("one", "--watch").wait_until_ready()
    for name in BAD:
        [state] = it.wait_for_state(["one"], name, 1, State.AVAILABLE)
        assert state.description is not None
        assert (state.description.isolation, state.description.framework) == ("process", "python")
        assert state.memory_bytes is not None
        assert state.memory_bytes > 10 << 20
    with Traffic(it.bootstrap, it.settings.routes["factor"], per_s=100) as traffic:
        for name in BAD:
            send(it, name, [*[1] * 20, 13, *[1] * 20])
        found = {name: results(it.bootstrap, it.settings.routes[name], 41) for name in BAD}
        for name in BAD:
            send(it, name, [2])
            found[name] = results(it.bootstrap, it.settings.routes[name], 42)
        traffic.finish()

    for name, code in BAD.items():
        errors = {r.id: r.error.code for r in found[name] if r.error is not None}
        assert errors == {"13 at 20": code}
        assert len({r.id for r in found[name]}) == len(found[name]) == 42
    assert not traffic.unanswered()
    assert not traffic.errors()
    late_s = [answers[0][0] - traffic.sent[id_] for id_, answers in traffic.results.items()]
    assert max(late_s) < PATIENCE_S

    pids = [pid_of(result) for several in found.values() for result in several if result.id == "2 at 0"]
    os.kill(pids[0], signal.SIGKILL)  # from outside, between two requests
    wait_for("the replacement", lambda: worker.log.count("is being replaced") > len(BAD))
    worker.signal(signal.SIGTERM)
    assert worker.wait() == 0
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_a_worker_that_is_told_to_stop_does_not_wait_for_a_call_that_hangs(deploy: Deploy, tmp_path: Path) -> None:
    stream = {"base_path": "models/hanging", "kind": "python", "options": {"class": "bad_model:Bad"}}
    it = deploy(
        servables={"hanging": {**stream, "isolation": "process", "predict_timeout_s": 600}},
        routes={"hanging": {}},
        worker={"drain_timeout_s": 2},
    )
    (tmp_path / "bad_model.py").write_text(MODEL)
    it.drop("hanging", 1, {"deed": b"hanging"})
    worker = it.worker("one", "--watch").wait_until_ready()
    send(it, "hanging", [1])
    pid = pid_of(results(it.bootstrap, it.settings.routes["hanging"], 1)[0])
    send(it, "hanging", [1, 13])
    wait_for("the call", lambda: is_asleep(pid))
    worker.signal(signal.SIGTERM)
    assert worker.wait(20) == 0
    assert not Path(f"/proc/{pid}").exists()


def test_a_worker_that_is_told_to_stop_ends_though_a_model_in_a_thread_hangs(deploy: Deploy, tmp_path: Path) -> None:
    stream = {"base_path": "models/hanging", "kind": "python", "options": {"class": "bad_model:Bad"}}
    it = deploy(servables={"hanging": stream}, routes={"hanging": {}}, worker={"drain_timeout_s": 2})
    (tmp_path / "bad_model.py").write_text(MODEL.replace("ctypes.PyDLL(None).sleep(600)", "time.sleep(600)"))
    it.drop("hanging", 1, {"deed": b"hanging"})
    worker = it.worker("one", "--watch").wait_until_ready()
    send(it, "hanging", [13])
    wait_for("the call", lambda: 'penstock_batches_in_flight{route="hanging"} 1' in worker.get("/metrics")[1])
    worker.signal(signal.SIGTERM)
    assert worker.wait(40) == 1
    assert 'bad_model.py", line' in worker.log
    assert "route hanging was not done within 2 s" in worker.log


def send(it: Deployment, name: str, numbers: Iterable[int]) -> None:
    """Send a request for each number, all to one partition, so that they come as few batches."""
    producer = Producer({"bootstrap.servers": it.bootstrap, "linger.ms": 50})
    for place, number in enumerate(numbers):
        tensor = from_array("x", np.array([[number]], np.float32))
        value = CODEC.encode_request(PredictRequest(f"{number} at {place}", inputs=(tensor,)))
        producer.produce(it.settings.routes[name].request_topic, value, b"key")
    assert producer.flush(20) == 0


def pid_of(result: PredictResult) -> int:
    """Return the process that computed a result."""
    [pid] = [tensor.array().item() for tensor in result.outputs if tensor.name == "pid"]
    return int(pid)
