"""Every kind of servable that comes with Penstock keeps the contract."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pipeline.testing.servable_contract import ServableContract

SCALE = """
import numpy as np

class Servable:
    inputs = {"x": ("FP32", [-1, 2])}
    outputs = {"y": ("FP32", [-1, 2])}

    def load(self, path):
        files = {file.name: file for file in path.iterdir()}  # a damaged name is no OSError, which is tried again
        self.factor = np.float32(files["factor"].read_text())

    async def predict(self, inputs):
        return {"y": inputs["x"] * self.factor}
"""


class TestPython(ServableContract):
    entry_point = "pipeline.servables.python:PythonAdapter"
    options: ClassVar = {"allow_code_in_version": True}
    wrong_options: ClassVar = {"class": "no module"}
    damaged_versions = 200

    def write_version(self, path: Path) -> None:
        path.mkdir()
        (path / "servable.py").write_text(SCALE)
        (path / "factor").write_text("3")

    def write_broken_version(self, path: Path) -> None:
        path.mkdir()
        (path / "servable.py").write_text("Servable = 3")
