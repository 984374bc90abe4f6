"""Every kind of servable that comes with Penstock keeps the contract."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from pipeline.testing.servable_contract import ServableContract


class TestOpenVino(ServableContract):
    entry_point = "pipeline.servables.openvino:OpenVinoAdapter"
    options: ClassVar = {"threads": 1}
    wrong_options: ClassVar = {"precision": "f7"}

    def write_version(self, path: Path) -> None:
        x = ops.parameter([-1, 3], ov.Type.f32)
        x.output(0).get_tensor().set_names({"x"})
        y = ops.relu(ops.matmul(x, ops.constant(np.eye(3, 2, dtype="f4")), transpose_a=False, transpose_b=False))
        y.output(0).get_tensor().set_names({"y"})
        path.mkdir()
        ov.save_model(ov.Model([y], [x]), path / "model.xml")

    def write_broken_version(self, path: Path) -> None:
        path.mkdir()
        (path / "model.xml").write_text("<net")
        (path / "model.bin").write_bytes(b"")


SCALE = """
import numpy as np

class Servable:
    inputs = {"x": ("FP32", [-1, 2])}
    outputs = {"y": ("FP32", [-1, 2])}

    def load(self, path):
        self.factor = np.float32((path / "factor").read_text())

    async def predict(self, inputs):
        return {"y": inputs["x"] * self.factor}
"""


class TestPython(ServableContract):
    entry_point = "pipeline.servables.python:PythonAdapter"
    options: ClassVar = {"allow_code_in_version": True}
    wrong_options: ClassVar = {"class": "no module"}

    def write_version(self, path: Path) -> None:
        path.mkdir()
        (path / "servable.py").write_text(SCALE)
        (path / "factor").write_text("3")

    def write_broken_version(self, path: Path) -> None:
        path.mkdir()
        (path / "servable.py").write_text("Servable = 3")
