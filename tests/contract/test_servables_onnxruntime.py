"""ONNX Runtime keeps the contract."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import onnx
from onnx import TensorProto

from pipeline.testing.servable_contract import ServableContract
from tests.unit.servables import onnx_models


class TestOnnxRuntime(ServableContract):
    entry_point = "pipeline.servables.onnxruntime:OnnxRuntimeAdapter"
    options: ClassVar = {"threads": 1}
    wrong_options: ClassVar = {"custom_ops": ["evil.so"]}
    is_detected = False
    damaged_versions = 200

    def write_version(self, path: Path) -> None:
        onnx_models.write_onnx(path, onnx_models.image_onnx())

    def write_broken_version(self, path: Path) -> None:
        path.mkdir()
        (path / "model.onnx").write_bytes(b"\x00" * 100)


class TestOnnxRuntimeWithExternalData(TestOnnxRuntime):
    def write_version(self, path: Path) -> None:
        onnx_models.write_onnx(path, onnx_models.image_onnx(), "weights.bin")


class TestOnnxRuntimeText(TestOnnxRuntime):
    wrong_options: ClassVar = {"optimization": "most"}

    def write_version(self, path: Path) -> None:
        onnx.save(onnx_models.identity_onnx(TensorProto.STRING), path.with_suffix(".onnx"))
        path.mkdir()
        path.with_suffix(".onnx").rename(path / "text.onnx")
