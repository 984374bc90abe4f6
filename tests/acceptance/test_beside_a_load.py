"""A worker's control plane goes on while it loads a large model, and while a servable in a process holds the GIL."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
import torch
from confluent_kafka import Consumer, Producer, TopicPartition

from pipeline.codecs.avro_codec import AvroCodec
from pipeline.control import encoding
from pipeline.control.aspired import AspiredPublisher
from pipeline.control.logs import logs_of
from pipeline.records import AspiredVersion, AspiredVersions, PredictRequest, State, WorkerState
from pipeline.tensors import from_array
from pipeline.testing.repeated import repeated
from tests.acceptance.conftest import Deploy
from tests.acceptance.workers import Deployment, wait_for

# A load of 0.5 GB takes seconds; what waited for its end would be taken up once.
FEWEST = 10
AXIS = 8192
TENSOR = {"datatype": "FP32", "shape": [-1, AXIS]}
EVERY_S = 0.05

# Computes in Python for as many seconds as its input says.
SPIN = """
import time

class Spin:
    inputs = {"s": ("FP32", [-1, 1])}
    outputs = {"s": ("FP32", [-1, 1])}

    def load(self, path):
        pass

    def predict(self, inputs):
        until_s = time.monotonic() + float(inputs["s"].max())
        while time.monotonic() < until_s:
            pass
        return inputs
"""


class Large(NamedTuple):
    """A version of 0.5 GB in two variables: how its stream is set, and in which isolation its kind has it loaded."""

    folder: Path
    stream: dict[str, Any]
    isolation: str


def write_keras(folder: Path) -> Large:
    layers = [keras.layers.Dense(AXIS, kernel_initializer="zeros") for _ in range(2)]
    keras.Sequential([keras.Input((AXIS,), name="x"), *layers]).save(folder / "model.keras")
    return Large(folder, {"kind": "tensorflow"}, "thread")


def write_torchscript(folder: Path) -> Large:
    """PyTorch reads it with the GIL held."""
    net = torch.nn.Sequential(*[torch.nn.Linear(AXIS, AXIS, bias=False) for _ in range(2)])
    torch.jit.save(torch.jit.script(net), folder / "model.ts")
    tensors = {"inputs": {"input": TENSOR}, "outputs": {"y": TENSOR}}
    return Large(folder, {"kind": "torch", "options": tensors}, "process")


@pytest.fixture(params=[write_keras, write_torchscript])
def large(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Large]:
    folder = tmp_path / "large"
    folder.mkdir()
    yield request.param(folder)
    shutil.rmtree(folder)


def test_aspirations_are_taken_up_at_once_beside_a_load_and_beside_code_that_holds_the_gil(
    deploy: Deploy, tmp_path: Path, large: Large, capsys: pytest.CaptureFixture[str]
) -> None:
    it = deploy(
        servables={
            "factor": {"base_path": "models", "kind": "python", "options": {"class": "factor_model:Factor"}},
            "spin": {
                "base_path": "models",
                "kind": "python",
                "options": {"class": "spin_model:Spin"},
                "isolation": "process",
            },
            "big": {"base_path": str(large.folder.parent), **large.stream},
        },
        routes={"factor": {}, "spin": {}},
    )
    (tmp_path / "spin_model.py").write_text(SPIN)
    it.drop("factor", 1, {"factor": b"1"})
    aspired = AspiredPublisher(logs_of(it.settings), it.settings.control.aspired_topic, "test")
    for stream in ("factor", "spin"):
        aspired.publish(one_version(stream, it.models / "factor" / "1"))
    it.worker("one").wait_until_ready()
    spin(it, 60)
    published = Aspirations(aspired, it.models / "factor" / "1")
    with closing(SignsOfLife(it)) as signs, repeated(signs.step), repeated(published.step):
        wait_for("some before the load", lambda: len(published.at_s) > 20)
        before = len(published.at_s)
        aspired.publish(one_version("big", large.folder))
        [state] = it.wait_for_state(["one"], "big", 1, State.AVAILABLE)
        available_s, beside = time.time(), len(published.at_s)
        wait_for("the sign of the last", lambda: signs.seen and signs.seen[-1][1] >= published.generations[beside - 1])
    taken_up_s = [signs.first_s(generation) for generation in published.generations[:beside]]
    delays_s = [taken_s - at_s for taken_s, at_s in zip(taken_up_s, published.at_s[:beside], strict=True)]
    worst_before_s, worst_beside_s = max(delays_s[:before]), max(delays_s[before:])
    with capsys.disabled():
        sys.stdout.write(f"[taken up in {worst_before_s:.3f} s at most, beside the load in {worst_beside_s:.3f} s]")
    assert len({taken_s for taken_s in taken_up_s[before:] if taken_s < available_s}) > FEWEST
    assert state.description is not None
    assert state.description.isolation == large.isolation


def one_version(stream: str, path: Path) -> AspiredVersions:
    return AspiredVersions(stream, (AspiredVersion(1, str(path)),))


def spin(it: Deployment, seconds: float) -> None:
    value = AvroCodec().encode_request(
        PredictRequest("s", inputs=(from_array("s", np.array([[seconds]], np.float32)),))
    )
    producer = Producer({"bootstrap.servers": it.bootstrap})
    producer.produce(it.settings.routes["spin"].request_topic, value)
    assert producer.flush(30) == 0


class Aspirations:
    """Publishes the same set of a stream again and again: when, and as which generation."""

    def __init__(self, publisher: AspiredPublisher, path: Path) -> None:
        self._publisher, self._record = publisher, one_version("factor", path)
        self.at_s: list[float] = []
        self.generations: list[int] = []

    def step(self) -> None:
        time.sleep(EVERY_S)
        at_s = time.time()
        self.generations.append(self._publisher.publish(self._record))
        self.at_s.append(at_s)


class SignsOfLife:
    """Reads the states topic from now on: when the worker wrote a sign of life, and how far it was with the stream."""

    def __init__(self, it: Deployment) -> None:
        topic = it.settings.control.states_topic
        self._consumer = Consumer({"bootstrap.servers": it.bootstrap, "group.id": "signs", "enable.auto.commit": False})
        partitions = self._consumer.list_topics(topic, 20).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, partition, 0) for partition in partitions])
        self.seen: list[tuple[float, int]] = []

    def close(self) -> None:
        self._consumer.close()

    def first_s(self, generation: int) -> float:
        """Return when the first sign of that generation, or of a later one, was written."""
        return next(at_s for at_s, reached in self.seen if reached >= generation)

    def step(self) -> None:
        for message in self._consumer.consume(100, 0.1):
            sign = None if message.value() is None else encoding.decode_state(message.value())
            if isinstance(sign, WorkerState):
                reached = [one.generation for one in sign.streams if one.stream == "factor"]
                self.seen += [(message.timestamp()[1] / 1000, generation) for generation in reached]
