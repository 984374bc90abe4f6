"""OpenVINO: IR, and an infer request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks import model, resnet50
from benchmarks.workload import MLP

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.model import Floats
    from benchmarks.workload import Workload

KIND: Final = "openvino"
OPTIONS: Final = model.OPTIONS


def write(load: Workload, version: Path) -> None:
    """See Runtime: IR in 32 bits."""
    import openvino  # noqa: PLC0415  # 0.2 s that its users alone pay

    if load.name == MLP.name:
        openvino.save_model(model.graph(), version / "model.xml", compress_to_fp16=False)
        return
    onnx = version / "resnet50.onnx"
    resnet50.write_onnx(onnx)
    openvino.save_model(openvino.Core().read_model(onnx), version / "model.xml", compress_to_fp16=False)
    onnx.unlink()


def run(load: Workload, version: Path) -> Callable[[Floats], Floats]:  # noqa: ARG001  # there is one input
    """See Runtime."""
    import openvino  # noqa: PLC0415  # likewise

    request = openvino.Core().compile_model(version / "model.xml", "CPU", model.OPENVINO).create_infer_request()

    def predict(rows: Floats) -> Floats:
        answer: Floats = request.infer([rows], share_inputs=True, share_outputs=True)[0].copy()
        return answer

    return predict
