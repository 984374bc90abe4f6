"""A version that is heavy to load and light to use: the model of all cases beside a network of ResNet-50's shape.

The same inputs, the same answers: the residual network, 102 MB of random weights, is a branch that only warm-up
requests take. So one artefact is a heavy version of any stream, and what it costs to serve does not change with the
swap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks import model, resnet50
from benchmarks.workload import IMAGES
from pipeline import warm_up

if TYPE_CHECKING:
    from pathlib import Path

# A request whose largest feature is above it takes the heavy branch; the load's are standard normal.
THRESHOLD: Final = 1000.0


def write(version: Path, warm_ups: int) -> None:
    """Write model, weights and warm-up requests to the directory of a version, which is made."""
    import openvino  # noqa: PLC0415  # 0.2 s that the other cases do without

    version.mkdir(parents=True)
    onnx = version / "resnet50.onnx"
    resnet50.write_onnx(onnx)
    network = openvino.Core().read_model(onnx)
    openvino.save_model(_graph(openvino, network), version / "model.xml", compress_to_fp16=False)
    del network  # it has the file mapped
    onnx.unlink()
    deep = np.full((1, model.FEATURES), 2 * THRESHOLD, np.float32)
    light = np.random.default_rng(3).standard_normal((8, model.FEATURES), np.float32)
    requests = [
        warm_up.request({model.INPUT: deep}, description="the heavy branch", iterations=warm_ups),
        warm_up.request({model.INPUT: light}, {model.OUTPUT: model.expected(light)}, description="eight rows"),
    ]
    warm_up.write(version, requests)


def _graph(openvino: Any, network: Any) -> Any:
    """Return the model beside ``network``, whose input it takes over."""
    ops = openvino.opset13
    light = model.graph()
    rows, logits = light.input().get_node(), _answer(light)
    logits.output(0).tensor.set_names(set())
    then_rows = ops.parameter([-1, model.FEATURES], openvino.Type.f32)
    then_logits = ops.parameter([-1, model.CLASSES], openvino.Type.f32)
    image = _image(ops, then_rows)
    for taker in network.input().get_target_inputs():
        taker.replace_source_output(image.output(0))
    mean = ops.reduce_mean(_answer(network), ops.constant(np.array([1])), keep_dims=True)
    # Far below what answers are compared with, and not nothing: else the branch would be left out.
    deep = ops.multiply(mean, ops.constant(np.float32(1e-9)))
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
    answer.get_tensor().set_names({model.OUTPUT})
    return openvino.Model([answer], [rows], model.NAME)


def _answer(network: Any) -> Any:
    """Return the operation whose output is the network's only one."""
    return network.output().get_node().input_value(0).get_node()


def _image(ops: Any, rows: Any) -> Any:
    """Return float32 [1, 3, 224, 224] made of the first row, again and again."""
    zero, one = ops.constant(np.array([0])), ops.constant(np.array([1]))
    row = ops.slice(rows, zero, one, one, zero)
    times = int(np.prod(IMAGES.row_shape)) // model.FEATURES
    tiled, shape = ops.tile(row, ops.constant(np.array([1, times]))), ops.constant(np.array((1, *IMAGES.row_shape)))
    return ops.reshape(tiled, shape, special_zero=False)
