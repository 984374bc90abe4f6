"""Loading and unloading again and again leaves the memory of the process where it was."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.registry.servable import ServableId
from pipeline.servables.onnxruntime import OnnxRuntimeAdapter
from pipeline.servables.openvino import OpenVinoAdapter
from tests.unit.servables import onnx_models, tensorflow_graphs
from tests.unit.servables.resident import resident_bytes

SWAPS = 30


@pytest.mark.parametrize("kind", ["ir", "onnx", "saved_model", "onnxruntime"])
def test_swaps_do_not_add_up(kind: str, tmp_path: Path) -> None:
    """Within 5 % of what is resident after the fifth, each version having answered."""
    path = tmp_path / "1"
    if kind == "saved_model":
        tensorflow_graphs.copy("saved_model", path)
    else:
        write = onnx_models.write_ir if kind == "ir" else onnx_models.write_onnx
        write(path, onnx_models.image_onnx())
    adapter = OnnxRuntimeAdapter() if kind == "onnxruntime" else OpenVinoAdapter()
    after = []
    for version in range(SWAPS):
        loader = adapter.loader(ServableId("m", version), path, {})
        loader.load().predict("", {"x": np.zeros((8, 64), np.float32)})
        loader.unload()
        after.append(resident_bytes())
    assert after[-1] < 1.05 * after[4], f"{after[4]} bytes are resident after 5 swaps, {after[-1]} after {SWAPS}"
