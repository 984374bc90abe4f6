"""A network of ResNet-50's size and shape with random weights, written as ONNX: what the heavy cases serve."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from benchmarks.workload import IMAGES

if TYPE_CHECKING:
    from pathlib import Path

# How many blocks each stage has, and how many channels are inside one; four times as many leave it.
_STAGES: Final = ((3, 64), (4, 128), (6, 256), (3, 512))


class _Graph:
    """Nodes and weights as they come; the weights keep the variance of what goes through them."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(50)
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def node(self, kind: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def weight(self, *shape: int, gain: float = 2.0) -> str:
        scale = math.sqrt(gain / max(1, math.prod(shape[1:])))
        return self.array((self._random.standard_normal(shape, np.float32) * scale).astype(np.float32))

    def array(self, array: Any) -> str:
        self.weights.append(numpy_helper.from_array(array, f"weight_{len(self.weights)}"))
        return str(self.weights[-1].name)

    def convolution(self, x: str, channels: tuple[int, int], kernel: int, stride: int = 1) -> str:
        """A convolution with its batch normalisation folded into weight and bias, as exporters write it."""
        before, after = channels
        weight, bias = self.weight(after, before, kernel, kernel), self.array(np.zeros(after, np.float32))
        pads = [kernel // 2] * 4
        return self.node("Conv", [x, weight, bias], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=pads)

    def block(self, x: str, before: int, inside: int, stride: int) -> str:
        y = self.node("Relu", [self.convolution(x, (before, inside), 1)])
        y = self.node("Relu", [self.convolution(y, (inside, inside), 3, stride)])
        y = self.convolution(y, (inside, inside * 4), 1)
        if before != inside * 4:
            x = self.convolution(x, (before, inside * 4), 1, stride)
        half = self.array(np.float32(0.5))
        return self.node("Relu", [self.node("Mul", [self.node("Add", [x, y]), half])])


def write_onnx(path: Path) -> None:
    """Write the model (25.5 million parameters, 102 MB) to ``path``, the same bytes every time.

    Input ``image``, float32 [rows, 3, 224, 224]; output ``probabilities``, float32 [rows, 1000].
    """
    graph = _Graph()
    x = graph.node("Relu", [graph.convolution(IMAGES.input, (3, 64), 7, 2)])
    x = graph.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, (blocks, inside) in enumerate(_STAGES):
        for block in range(blocks):
            x = graph.block(x, channels, inside, 2 if stage and not block else 1)
            channels = inside * 4
    x = graph.node("Flatten", [graph.node("GlobalAveragePool", [x])])
    x = graph.node("Gemm", [x, graph.weight(IMAGES.classes, channels, gain=1.0)], transB=1)
    graph.node("Softmax", [x], IMAGES.output)
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            "resnet50",
            [helper.make_tensor_value_info(IMAGES.input, TensorProto.FLOAT, ["rows", *IMAGES.row_shape])],
            [helper.make_tensor_value_info(IMAGES.output, TensorProto.FLOAT, ["rows", IMAGES.classes])],
            graph.weights,
        ),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,  # what onnxruntime 1.14 and OpenVINO 2023 read, too
    )
    onnx.save(model, path)
