"""Every kind of servable that comes with Penstock keeps the contract."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np

from pipeline.registry.servable import Signature
from pipeline.tensors import Array
from pipeline.testing.servable_contract import ServableContract


class TestLookup(ServableContract):
    entry_point = "pipeline.servables.lookup:LookupAdapter"
    options: ClassVar = {"header": True, "datatypes": {"size": "FP64"}}
    wrong_options: ClassVar = {"missing": "sometimes"}

    def write_version(self, path: Path) -> None:
        path.mkdir()
        (path / "table.csv").write_text("name,colour,size\na,red,1\nb,blue,2.5\n")

    def write_broken_version(self, path: Path) -> None:
        path.mkdir()
        (path / "table.csv").write_text("name,colour,size\na,red,1\nb,blue\n")

    def make_inputs(self, signature: Signature, rows: int) -> Mapping[str, Array]:
        return {"key": np.array([b"%c" % b"ab"[row % 2] for row in range(rows)], object)}


class TestLookupOfOneFile(TestLookup):
    options: ClassVar = {"missing": "empty"}

    def write_version(self, path: Path) -> None:
        path.write_text("a,red\nb,blue\n")

    def write_broken_version(self, path: Path) -> None:
        path.write_bytes(b"a,\xff\n")


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
