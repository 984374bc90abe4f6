"""Pipelines, and the steps that come with Penstock, keep the contract of a kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import openvino as ov
from openvino import opset13 as ops

from pipeline.registry.servable import Signature
from pipeline.tensors import Array
from pipeline.testing.servable_contract import ServableContract

FRAMEWORKS = (*ServableContract.frameworks, "cv2")


def pngs(rows: int) -> Array:
    """Images of 8 x 8 pixels, each of another grey."""
    images = np.empty(rows, object)
    images[:] = [cv2.imencode(".png", np.full((8, 8), 20 * row, np.uint8))[1].tobytes() for row in range(rows)]
    return images


class TestImage(ServableContract):
    entry_point = "pipeline.servables.image:ImageAdapter"
    wrong_options: ClassVar = {"formats": ["tiff"]}
    frameworks: ClassVar = FRAMEWORKS
    damaged_versions = 200

    def write_version(self, path: Path) -> None:
        path.mkdir()
        (path / "image.yaml").write_text("width: 6\nheight: 4\ncolour: RGB\nmean: [1, 2, 3]\nscale: 255\n")

    def write_broken_version(self, path: Path) -> None:
        path.mkdir()
        (path / "image.yaml").write_text("width: 6\ncolour: RGB\n")

    def make_inputs(self, signature: Signature, rows: int) -> Mapping[str, Array]:
        return {"image": pngs(rows)}


class TestTopK(ServableContract):
    entry_point = "pipeline.servables.top_k:TopKAdapter"
    wrong_options: ClassVar = {"k": "five"}
    frameworks: ClassVar = FRAMEWORKS
    damaged_versions = 200

    def write_version(self, path: Path) -> None:
        path.mkdir()
        (path / "top-k.yaml").write_text("k: 2\nsoftmax: true\n")
        (path / "labels.txt").write_text("red\ngreen\nblue\n")

    def write_broken_version(self, path: Path) -> None:
        path.mkdir()
        (path / "top-k.yaml").write_text("k: 2\n")
        (path / "labels.txt").write_text("red\n")


PIPELINE = """
steps:
  - {kind: image}
  - {kind: openvino, name: model, path: model, inputs: {x: pixels}, outputs: {y: logits}}
  - {kind: top-k, inputs: {values: logits}}
"""


class TestPipeline(ServableContract):
    entry_point = "pipeline.servables.pipeline:PipelineAdapter"
    wrong_options: ClassVar = {"steps": {"model": 1}}
    frameworks: ClassVar = FRAMEWORKS
    damaged_versions = 200

    def write_version(self, path: Path) -> None:
        x = ops.parameter([-1, 1, 2, 2], ov.Type.f32)
        x.output(0).get_tensor().set_names({"x"})
        flat = ops.reshape(x, ops.constant(np.array([0, 4])), special_zero=True)
        y = ops.matmul(flat, ops.constant(np.eye(4, 3, dtype="f4")), transpose_a=False, transpose_b=False)
        y.output(0).get_tensor().set_names({"y"})
        (path / "model").mkdir(parents=True)
        ov.save_model(ov.Model([y], [x]), path / "model/model.xml")
        (path / "pipeline.yaml").write_text(PIPELINE)
        (path / "image.yaml").write_text("width: 2\nheight: 2\ncolour: GRAY\nscale: 255\n")
        (path / "top-k.yaml").write_text("k: 2\n")
        (path / "labels.txt").write_text("red\ngreen\nblue\n")

    def write_broken_version(self, path: Path) -> None:
        self.write_version(path)
        (path / "pipeline.yaml").write_text(PIPELINE.replace("{x: pixels}", "{z: pixels}"))

    def make_inputs(self, signature: Signature, rows: int) -> Mapping[str, Array]:
        return {"image": pngs(rows)}


class TestPipelineThatIsItsFile(ServableContract):
    """All damage is done to ``pipeline.yaml``: the steps have their options from the stream."""

    entry_point = "pipeline.servables.pipeline:PipelineAdapter"
    options: ClassVar = {"steps": {"first": {"k": 3, "datatype": "FP32"}, "top-k": {"k": 1}}}
    wrong_options: ClassVar = {"step": {}}
    frameworks: ClassVar = FRAMEWORKS
    damaged_versions = 200

    def write_version(self, path: Path) -> None:
        path.mkdir()
        (path / "pipeline.yaml").write_text(
            "steps:\n- kind: top-k\n  name: first\n  outputs: {classes: ranks}\n"
            "- kind: top-k\n  inputs: {values: scores}\n  outputs: {scores: best}\noutputs: [ranks, best, classes]\n"
        )

    def write_broken_version(self, path: Path) -> None:
        self.write_version(path)
        (path / "pipeline.yaml").write_text((path / "pipeline.yaml").read_text().replace("{scores: best}", "{}"))

    def make_inputs(self, signature: Signature, rows: int) -> Mapping[str, Array]:
        return {"values": np.arange(rows * 4, dtype=np.float32).reshape(rows, 4) % 5}
