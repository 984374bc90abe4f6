"""A version that is heavy to load and light to use: the model of all cases beside a network of ResNet-50's shape.

The same inputs, the same answers: the residual network, 94 MB of random weights, is a branch that only warm-up requests
take. So one artefact is a heavy version of any stream, and what it costs to serve does not change with the swap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks import model
from pipeline import warm_up

if TYPE_CHECKING:
    from pathlib import Path

# A request whose largest feature is above it takes the heavy branch; the load's are standard normal.
THRESHOLD: Final = 1000.0
# (channels inside, blocks, stride of the first block): the four stages of ResNet-50.
_STAGES: Final = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))
_EXPANSION: Final = 4
_IMAGE: Final = (1, 3, 224, 224)


def write(version: Path, warm_ups: int) -> None:
    """Write model, weights and warm-up requests to the directory of a version, which is made."""
    import openvino  # noqa: PLC0415  # 0.2 s that the other cases do without

    version.mkdir(parents=True)
    openvino.save_model(_graph(openvino), version / "model.xml", compress_to_fp16=False)
    deep = np.full((1, model.FEATURES), 2 * THRESHOLD, np.float32)
    light = np.random.default_rng(3).standard_normal((8, model.FEATURES), np.float32)
    requests = [
        warm_up.request({model.INPUT: deep}, description="the heavy branch", iterations=warm_ups),
        warm_up.request({model.INPUT: light}, {model.OUTPUT: model.expected(light)}, description="eight rows"),
    ]
    warm_up.write(version, requests)


def write_images(version: Path) -> None:
    """Write the network alone: ``image`` FP32 [-1, 3, 224, 224] to ``logits`` FP32 [-1, 10]."""
    import openvino  # noqa: PLC0415  # as above

    ops = openvino.opset13
    images = ops.parameter([-1, *_IMAGE[1:]], openvino.Type.f32)
    images.output(0).tensor.set_names({"image"})
    logits = _ResNet(ops)(images)
    logits.output(0).tensor.set_names({"logits"})
    version.mkdir(parents=True)
    openvino.save_model(openvino.Model([logits], [images]), version / "model.xml", compress_to_fp16=False)


def _graph(openvino: Any) -> Any:
    ops = openvino.opset13
    first, second = model.weights()
    rows = ops.parameter([-1, model.FEATURES], openvino.Type.f32, name=model.INPUT)
    hidden = ops.relu(ops.matmul(rows, ops.constant(first), transpose_a=False, transpose_b=False))
    logits = ops.matmul(hidden, ops.constant(second), transpose_a=False, transpose_b=False)
    then_rows = ops.parameter([-1, model.FEATURES], openvino.Type.f32)
    then_logits = ops.parameter([-1, model.CLASSES], openvino.Type.f32)
    deep = ops.multiply(_ResNet(ops)(_image(ops, then_rows)), ops.constant(np.float32(1e-9)))
    then = openvino.Model([ops.result(ops.add(then_logits, deep))], [then_rows, then_logits])
    same = ops.parameter([-1, model.CLASSES], openvino.Type.f32)
    otherwise = openvino.Model([ops.result(same)], [same])
    largest = ops.reduce_max(rows, ops.constant(np.array([0, 1])), keep_dims=False)
    branch = ops.if_op(ops.greater(largest, ops.constant(np.float32(THRESHOLD))).output(0))
    branch.set_then_body(then)
    branch.set_else_body(otherwise)
    branch.set_input(rows.output(0), then_rows, None)
    branch.set_input(logits.output(0), then_logits, same)
    answer = branch.set_output(then.results[0], otherwise.results[0])
    rows.output(0).tensor.set_names({model.INPUT})
    answer.get_tensor().set_names({model.OUTPUT})
    return openvino.Model([answer], [rows], model.NAME)


def _image(ops: Any, rows: Any) -> Any:
    """Return float32 [1, 3, 224, 224] made of the first row, again and again."""
    zero, one = ops.constant(np.array([0])), ops.constant(np.array([1]))
    row = ops.slice(rows, zero, one, one, zero)
    times = int(np.prod(_IMAGE)) // model.FEATURES
    return ops.reshape(
        ops.tile(row, ops.constant(np.array([1, times]))), ops.constant(np.array(_IMAGE)), special_zero=False
    )


class _ResNet:
    """ResNet-50 without batch normalisation: float32 [1, 3, 224, 224] -> [1, 10]."""

    def __init__(self, ops: Any) -> None:
        self._ops = ops
        self._random = np.random.default_rng(50)

    def __call__(self, image: Any) -> Any:
        ops = self._ops
        out = ops.relu(self._convolve(image, 3, 64, 7, 2))
        out = ops.max_pool(out, [2, 2], [1, 1], [1, 1], [1, 1], [3, 3]).output(0)
        channels = 64
        for width, blocks, first_stride in _STAGES:
            for number in range(blocks):
                out = self._block(out, channels, width, first_stride if number == 0 else 1)
                channels = _EXPANSION * width
        pooled = ops.reduce_mean(out, ops.constant(np.array([2, 3])), keep_dims=False)
        weights = self._random.standard_normal((channels, model.CLASSES), np.float32)
        return ops.matmul(pooled, ops.constant(weights), transpose_a=False, transpose_b=False)

    def _block(self, image: Any, channels: int, width: int, stride: int) -> Any:
        relu = self._ops.relu
        out = relu(self._convolve(image, channels, width, 1, 1))
        out = relu(self._convolve(out, width, width, 3, stride))
        out = self._convolve(out, width, _EXPANSION * width, 1, 1)
        if channels != _EXPANSION * width:
            image = self._convolve(image, channels, _EXPANSION * width, 1, stride)
        return relu(self._ops.add(out, image))

    def _convolve(self, image: Any, channels: int, filters: int, size: int, stride: int) -> Any:
        scale = np.float32((2 / (channels * size * size)) ** 0.5)
        weights = self._random.standard_normal((filters, channels, size, size), np.float32) * scale
        pad = [size // 2] * 2
        out = self._ops.convolution(image, self._ops.constant(weights), [stride] * 2, pad, pad, [1, 1])
        return self._ops.add(out, self._ops.constant(np.zeros((1, filters, 1, 1), np.float32)))
