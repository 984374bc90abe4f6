"""The weights of an IR lie in memory that is ours: all of them, whatever becomes of the file, until the unload."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as ops

from pipeline.registry.servable import ServableId
from pipeline.servables.openvino import OpenVinoAdapter
from pipeline.servables.openvino.weights import Weights
from tests.unit.servables.resident import resident_bytes

AXIS = 4096


@pytest.fixture(scope="module")
def version(tmp_path_factory):
    """A matrix of 64 MB."""
    x = ops.parameter([-1, AXIS], ov.Type.f32, name="x")
    matrix = np.random.default_rng(0).normal(size=(AXIS, AXIS)).astype(np.float32)
    y = ops.matmul(x, ops.constant(matrix), transpose_a=False, transpose_b=False)
    x.output(0).get_tensor().set_names({"x"})
    y.output(0).get_tensor().set_names({"y"})
    path = tmp_path_factory.mktemp("weights")
    ov.save_model(ov.Model([y], [x]), path / "model.xml", compress_to_fp16=False)
    return path


@pytest.mark.parametrize("size", [0, 1, 4096, (16 << 20) + 1, 40 << 20])
def test_every_byte_is_read(size, tmp_path):
    content = np.random.default_rng(size).bytes(size)
    (tmp_path / "model.bin").write_bytes(content)
    weights = Weights("m/1", tmp_path / "model.bin")
    assert weights.tensor().data.tobytes() == content
    weights.close()


def test_a_model_answers_the_same_when_its_file_has_been_shortened_in_place(version):
    loader = OpenVinoAdapter().loader(ServableId("m", 1), version, {"precision": "f32"})
    servable = loader.load()
    rows = {"x": np.ones((2, AXIS), np.float32)}
    before = servable.predict("serving_default", rows)["y"]
    whole = (version / "model.bin").read_bytes()
    try:
        os.truncate(version / "model.bin", 0)
        after = servable.predict("serving_default", {"x": np.ones((3, AXIS), np.float32)})["y"]
    finally:
        (version / "model.bin").write_bytes(whole)
    assert np.array_equal(before, after[:2])
    loader.unload()


def test_loading_again_and_again_keeps_no_weights(version):
    adapter = OpenVinoAdapter()
    resident = []
    for number in range(4):
        loader = adapter.loader(ServableId("m", number), version, {})
        loader.load()
        loader.unload()
        resident.append(resident_bytes())
    assert resident[-1] - resident[1] < 32 << 20


@pytest.mark.parametrize("copies", [0, 1])
def test_every_byte_is_in_its_place_where_the_kernel_copies_only_some(copies, tmp_path, monkeypatch):
    content = np.random.default_rng(0).bytes(130 << 20)
    (tmp_path / "model.bin").write_bytes(content)
    left, sendfile = [copies], os.sendfile

    def refuse_after(*arguments):
        if not left[0]:
            raise OSError(22, "Invalid argument")
        left[0] -= 1
        return sendfile(*arguments)

    monkeypatch.setattr(os, "sendfile", refuse_after)
    weights = Weights("m/1", tmp_path / "model.bin")
    assert weights.tensor().data.tobytes() == content
    weights.close()


def test_what_is_closed_before_all_is_there_leaves_nothing(tmp_path):
    (tmp_path / "model.bin").write_bytes(b"\0" * (200 << 20))
    before = set(Path("/proc/self/fd").iterdir())
    Weights("m/1", tmp_path / "model.bin").close()
    assert set(Path("/proc/self/fd").iterdir()) == before


def test_a_model_answers_though_nobody_has_its_loader_any_more(version):
    rows = {"x": np.ones((2, AXIS), np.float32)}
    loader = OpenVinoAdapter().loader(ServableId("m", 1), version, {"precision": "f32"})
    servable = loader.load()
    before = servable.predict("serving_default", rows)["y"]
    del loader
    gc.collect()
    assert np.array_equal(servable.predict("serving_default", rows)["y"], before)
    servable.close()
