"""ONNX Runtime: an ONNX file, and an inference session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks import model, resnet50
from benchmarks.workload import MLP

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.model import Floats
    from benchmarks.workload import Workload

KIND: Final = "onnxruntime"
OPTIONS: Final = {"threads": 1}


def write(load: Workload, version: Path) -> None:
    """See Runtime."""
    path = version / "model.onnx"
    if load.name == MLP.name:
        _write_mlp(path)
    else:
        resnet50.write_onnx(path)


def run(load: Workload, version: Path) -> Callable[[Floats], Floats]:
    """See Runtime."""
    import onnxruntime  # noqa: PLC0415  # its users alone pay for it

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(version / "model.onnx", options, providers=["CPUExecutionProvider"])

    def predict(rows: Floats) -> Floats:
        answer: Floats = session.run([load.output], {load.input: rows})[0]
        return answer

    return predict


def _write_mlp(path: Path) -> None:
    import onnx  # noqa: PLC0415  # likewise
    from onnx import helper, numpy_helper  # noqa: PLC0415  # likewise

    first, second = (
        numpy_helper.from_array(weights, name) for name, weights in zip("ab", model.weights(), strict=True)
    )
    nodes = [
        helper.make_node("MatMul", [model.INPUT, "a"], ["hidden"]),
        helper.make_node("Relu", ["hidden"], ["positive"]),
        helper.make_node("MatMul", ["positive", "b"], [model.OUTPUT]),
    ]
    rows = helper.make_tensor_value_info(model.INPUT, onnx.TensorProto.FLOAT, ["batch", model.FEATURES])
    logits = helper.make_tensor_value_info(model.OUTPUT, onnx.TensorProto.FLOAT, ["batch", model.CLASSES])
    graph = helper.make_graph(nodes, model.NAME, [rows], [logits], [first, second])
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(made, path)
