"""OpenVINO keeps the contract in each of the formats that it reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from pipeline.testing.servable_contract import ServableContract
from tests.unit.servables import onnx_models, tensorflow_graphs


class TestOpenVinoIr(ServableContract):
    entry_point = "pipeline.servables.openvino:OpenVinoAdapter"
    options: ClassVar = {"threads": 1}
    wrong_options: ClassVar = {"precision": "f7"}
    damaged_versions = 200

    def write_version(self, path: Path) -> None:
        onnx_models.write_ir(path, onnx_models.image_onnx())

    def write_broken_version(self, path: Path) -> None:
        path.mkdir()
        (path / "model.xml").write_text("<net")
        (path / "model.bin").write_bytes(b"")


class TestOpenVinoWithAStaticBatch(TestOpenVinoIr):
    """Rows are filled up to 4, and cut; a call is shared out among two streams."""

    options: ClassVar = {"threads": 2, "streams": 2, "batch": 4}
    damaged_versions = 10


class TestOpenVinoOnnx(TestOpenVinoIr):
    def write_version(self, path: Path) -> None:
        onnx_models.write_onnx(path, onnx_models.image_onnx())

    def write_broken_version(self, path: Path) -> None:
        path.mkdir()
        (path / "model.onnx").write_bytes(b"\x00" * 100)


class TestOpenVinoOnnxWithExternalData(TestOpenVinoOnnx):
    damaged_versions = 100

    def write_version(self, path: Path) -> None:
        onnx_models.write_onnx(path, onnx_models.image_onnx(), "weights.bin")


class TestOpenVinoSavedModel(TestOpenVinoIr):
    wrong_options: ClassVar = {"batch": 0}
    is_detected = False

    def write_version(self, path: Path) -> None:
        tensorflow_graphs.copy("saved_model", path)

    def write_broken_version(self, path: Path) -> None:
        tensorflow_graphs.copy("saved_model", path)
        (path / "variables" / "variables.index").write_bytes(b"half")


class TestOpenVinoFrozenGraph(TestOpenVinoIr):
    wrong_options: ClassVar = {"cache_dir": "relative"}

    def write_version(self, path: Path) -> None:
        tensorflow_graphs.copy("frozen", path)
        meta = {"input_names": ["x:0"], "output_names": ["Identity:0"]}
        (path / "graph_meta.json").write_text(json.dumps(meta))

    def write_broken_version(self, path: Path) -> None:
        path.mkdir()
        (path / "frozen_inference_graph.pb").write_bytes(b"half")
