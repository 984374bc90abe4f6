"""One worker serves versions of every kind, over Kafka, as the frameworks answer when they are called directly."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.client import InputQueue
from pipeline.isolation.adapter import IsolatedAdapter
from pipeline.records import State
from pipeline.registry.servable import ServableId
from pipeline.servables import kinds
from tests.acceptance.conftest import Deploy
from tests.acceptance.kinds import asked
from tests.acceptance.workers import Deployment, Worker, wait_for

MAKERS = ("graphs", "steps", "tables", "tensorflow", "torch", "trees")
TENSORFLOW = ("saved-model", "keras")
TORCH = ("exported", "exported-numbers", "torchscript", "torchscript-numbers", "state-dict", "safetensors")

# A class as an operator has it beside the worker; its parameters come from the version.
MODULE = """
import torch
from torch import nn

class Digits(nn.Module):
    def __init__(self, hidden):
        super().__init__()
        self.hidden, self.out = nn.Linear(64, hidden), nn.Linear(hidden, 10)

    def forward(self, image):
        return {"probabilities": torch.softmax(self.out(torch.relu(self.hidden(image))), 1)}
"""
DECLARED = {
    "inputs": {"image": {"datatype": "FP32", "shape": [-1, 64]}},
    "outputs": {"probabilities": {"datatype": "FP32", "shape": [-1, 10]}},
}
DECLARED_NUMBERS = {
    "inputs": {name: {"datatype": asked.DATATYPES[name], "shape": [-1, 1]} for name in asked.TORCH_NUMBERS},
    "outputs": {f"{name}_out": {"datatype": asked.DATATYPES[name], "shape": [-1, 1]} for name in asked.TORCH_NUMBERS},
}
MODULE_OPTIONS = {"module": "digits_module:Digits", "arguments": {"hidden": 32}}
F32 = {"precision": "f32"}
# What the files do not say. No kind is named where they do.
STREAMS: dict[str, Mapping[str, Any]] = {
    "saved-model": {},
    "keras": {},
    "saved-model-in-openvino": {"kind": "openvino", "options": F32},
    "frozen-graph": {"options": F32},
    "exported": {},
    "exported-numbers": {},
    "torchscript": {"options": DECLARED},
    "torchscript-numbers": {"options": DECLARED_NUMBERS},
    "state-dict": {"options": {**DECLARED, **MODULE_OPTIONS}},
    "safetensors": {"options": {**DECLARED, **MODULE_OPTIONS}},
    "ir": {"options": F32},
    "onnx-in-openvino": {"options": F32},
    "openvino-types": {"options": F32},
    "onnx": {"kind": "onnxruntime"},
    "onnx-types": {"kind": "onnxruntime"},
    "sklearn": {},
    "xgboost": {},
    "xgboost-binary": {},
    "lightgbm": {},
    "table-csv": {"options": {"header": True, "datatypes": {"year": "INT64", "share": "FP64"}}},
    "table-avro": {},
    "table-parquet": {},
    "python": {"options": {"allow_code_in_version": True}},
    "python-types": {"options": {"allow_code_in_version": True}},
    "image": {},
    "top-k": {},
    "pipeline": {"options": {"steps": {"openvino": F32}}},
}

# One of each kind.
ISOLATED = (
    "saved-model",
    "exported",
    "openvino-types",
    "onnx-types",
    "sklearn",
    "xgboost",
    "lightgbm",
    "table-parquet",
    "python-types",
    "image",
    "top-k",
    "pipeline",
)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a version of each stream and what its framework answers; two makers at a time."""
    folder = tmp_path_factory.mktemp("made")
    waiting = list(MAKERS)
    running: list[tuple[str, subprocess.Popen[str]]] = []
    while waiting or running:
        while waiting and len(running) < 2:
            command = [sys.executable, "-m", f"tests.acceptance.kinds.{waiting[0]}", str(folder)]
            pipe = subprocess.PIPE
            running.append(
                (waiting.pop(0), subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True))
            )
        name, process = running.pop(0)
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, f"{name}: {said[-3000:]}"
    assert {path.stem for path in folder.glob("*.npz")} == set(STREAMS)
    return folder


def serve(it: Deployment, worker: Worker, made: Path, streams: tuple[str, ...]) -> None:
    """Put version 1 of the streams where it is looked for, and wait until it is available."""
    for stream in streams:
        partial = it.models / stream / ".1.partial"
        shutil.copytree(made / stream / "1", partial)
        partial.rename(partial.with_name("1"))

    def settled() -> bool:
        states = {s.stream: s for s in it.states().values() if s.stream in streams}
        failed = [f"{s.stream}: {s.error}" for s in states.values() if s.state == State.END]
        assert not failed, failed
        assert worker.popen.poll() is None, worker.log
        return [states[stream].state for stream in streams if stream in states] == [State.AVAILABLE] * len(streams)

    wait_for(f"{', '.join(streams)} available", settled, timeout_s=150.0, every_s=0.2)


def check(queue: InputQueue, made: Path, stream: str) -> None:
    """Ask each signature what its framework was asked, and compare."""
    for signature, (inputs, expected) in asked.read(made, stream).items():
        answer = queue.predict(inputs, timeout=20, servable=stream, signature=signature)
        outputs = answer if isinstance(answer, dict) else {next(iter(expected)): answer}
        compare(f"{stream} {signature}", outputs, expected)


def compare(what: str, outputs: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    assert outputs.keys() == expected.keys(), what
    for name, array in expected.items():
        got = outputs[name]
        if array.dtype == object:
            assert got.tolist() == array.tolist(), f"{what} {name}"
            continue
        assert got.dtype == array.dtype, f"{what} {name}"
        if array.dtype.kind == "f" and not name.endswith("_out"):  # what is passed through is exact
            np.testing.assert_allclose(got, array, rtol=1e-5, atol=1e-6, err_msg=f"{what} {name}")
        else:
            assert np.array_equal(got, array), f"{what} {name}"


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.parametrize("first", [TENSORFLOW, TORCH], ids=["tensorflow first", "torch first"])
def test_one_worker_answers_by_every_kind_as_the_framework_does(
    first: tuple[str, ...], deploy: Deploy, made: Path, tmp_path: Path
) -> None:
    (tmp_path / "digits_module.py").write_text(MODULE)
    servables = {name: {"base_path": f"models/{name}", **stream} for name, stream in STREAMS.items()}
    for name in servables:
        (tmp_path / "models" / name).mkdir(parents=True)
    it = deploy(servables=servables, routes={"all": {"servable": first[0]}}, worker={"load_threads": 1})
    worker = it.worker("one", "--watch")
    serve(it, worker, made, first)
    worker.wait_until_ready()
    route = it.settings.routes["all"]
    topics = {"request_topic": route.request_topic, "result_topic": route.result_topic}
    with InputQueue("all", bootstrap=it.bootstrap, **topics) as queue:
        for stream in first:
            check(queue, made, stream)
        serve(it, worker, made, tuple(stream for stream in STREAMS if stream not in first))
        for stream in STREAMS:
            check(queue, made, stream)
    for state in it.states().values():
        assert state.description is not None, state.stream
        assert state.description.framework, state.stream
        assert state.kind, state.stream
        assert state.description.signatures.keys() >= asked.read(made, state.stream).keys(), state.stream


@pytest.mark.parametrize("stream", ISOLATED)
def test_a_kind_answers_the_same_from_a_process_of_its_own(stream: str, made: Path) -> None:
    path, settings = made / stream / "1", STREAMS[stream]
    kind = settings.get("kind") or kinds.detect(path, kinds.load_adapters())
    loader = IsolatedAdapter(kinds.load_adapter(kind)).loader(ServableId(stream, 1), path, settings.get("options", {}))
    servable = loader.load()
    try:
        for signature, (inputs, expected) in asked.read(made, stream).items():
            compare(f"{stream} {signature}", servable.predict(signature, inputs), expected)
    finally:
        loader.unload()
