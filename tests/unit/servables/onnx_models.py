"""Small models as files, for the tests of the kinds that read them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def onnx_model(
    nodes: list[Any], inputs: dict[str, Any], outputs: dict[str, Any], weights: dict[str, Any] | None = None
) -> Any:
    """Return an ONNX model; inputs and outputs are name -> (element type, shape)."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, *spec) for name, spec in inputs.items()],
        [helper.make_tensor_value_info(name, *spec) for name, spec in outputs.items()],
        [numpy_helper.from_array(array, name) for name, array in (weights or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def image_onnx(seed: int = 1) -> Any:
    """Return a small network with a convolution: ``x`` float32 [rows, 64] -> ``y`` float32 [rows, 10]."""
    random = np.random.default_rng(seed)
    shapes = {"kernel": (4, 1, 3, 3), "first": (256, 32), "second": (32, 10), "bias": (10,)}
    weights: dict[str, Any] = {name: random.normal(size=shape).astype("f4") / 4 for name, shape in shapes.items()}
    weights["image"] = np.array([-1, 1, 8, 8], "i8")
    nodes = [
        helper.make_node("Reshape", ["x", "image"], ["image_1"]),
        helper.make_node("Conv", ["image_1", "kernel"], ["conv"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["conv"], ["relu"]),
        helper.make_node("Flatten", ["relu"], ["flat"]),
        helper.make_node("MatMul", ["flat", "first"], ["hidden"]),
        helper.make_node("Gemm", ["hidden", "second", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["y"]),
    ]
    float_ = TensorProto.FLOAT
    return onnx_model(nodes, {"x": (float_, ["rows", 64])}, {"y": (float_, ["rows", 10])}, weights)


def identity_onnx(element_type: int, shape: Any = ("rows", 2)) -> Any:
    """Return a model that answers its input ``x`` as ``y``."""
    return onnx_model(
        [helper.make_node("Identity", ["x"], ["y"])], {"x": (element_type, shape)}, {"y": (element_type, shape)}
    )


def write_onnx(path: Path, model: Any, weights_at: str = "") -> Path:
    """Write a version with ``model.onnx``, its large weights in a file of their own where one is named; return it."""
    path.mkdir(parents=True, exist_ok=True)
    onnx.save(
        model,
        path / "model.onnx",
        save_as_external_data=bool(weights_at),
        location=weights_at or None,
        size_threshold=1024,
    )
    return path


def write_ir(path: Path, model: Any) -> Path:
    """Write a version with ``model.xml`` and ``model.bin`` that OpenVINO makes of an ONNX model; return it."""
    import openvino  # not for the tests of other kinds

    path.mkdir(parents=True, exist_ok=True)
    network = openvino.Core().read_model(model.SerializeToString())
    openvino.save_model(network, path / "model.xml", compress_to_fp16=False)
    return path


def relocated(content: bytes, before: str, after: str) -> bytes:
    """Return a serialised model whose external data lie elsewhere."""
    model = onnx.ModelProto.FromString(content)
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.value == before:
                entry.value = after
    return model.SerializeToString()
