"""The model of all cases: a multilayer perceptron 64 -> 128 -> 10 as OpenVINO IR, one file for every contender."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "mlp"
INPUT: Final = "x"
OUTPUT: Final = "logits"
FEATURES: Final = 64
HIDDEN: Final = 128
CLASSES: Final = 10
DESCRIPTION: Final = f"{FEATURES}->{HIDDEN}->{CLASSES} MLP, one row a request"
# The same for every contender. f32 everywhere: some CPUs would compute in bfloat16, others not.
OPENVINO: Final[dict[str, Any]] = {
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    "INFERENCE_PRECISION_HINT": "f32",
}
# The same in the words of our adapter's options.
OPTIONS: Final[dict[str, Any]] = {"threads": 1, "streams": 1, "precision": "f32"}

Floats = npt.NDArray[np.float32]


def weights(hidden: int = HIDDEN) -> tuple[Floats, Floats]:
    """Return the two weight matrices, float32 [64, hidden] and [hidden, 10]; the same every time."""
    random = np.random.default_rng(64)
    first = random.standard_normal((FEATURES, hidden), np.float32) / np.float32(8)
    second = random.standard_normal((hidden, CLASSES), np.float32) / np.float32(11)
    return first, second


def expected(rows: Floats) -> Floats:
    """Return what the model answers for ``rows`` float32 [rows, 64]: float32 [rows, 10], computed by numpy."""
    first, second = weights()
    answer: Floats = np.maximum(rows @ first, 0) @ second
    return answer


def graph() -> Any:
    """Return the model as OpenVINO's graph."""
    import openvino  # noqa: PLC0415  # the load generator and the collector need this module without it
    from openvino import opset13 as opset  # noqa: PLC0415  # as above

    first, second = weights()
    rows = opset.parameter([-1, FEATURES], openvino.Type.f32, name=INPUT)
    hidden = opset.relu(opset.matmul(rows, opset.constant(first), transpose_a=False, transpose_b=False))
    answer = opset.matmul(hidden, opset.constant(second), transpose_a=False, transpose_b=False)
    rows.output(0).tensor.set_names({INPUT})
    answer.output(0).tensor.set_names({OUTPUT})
    return openvino.Model([answer], [rows], NAME)


def write(base_path: Path) -> Path:
    """Write version 1 below ``base_path`` and return its ``model.xml``."""
    import openvino  # noqa: PLC0415  # likewise

    path = base_path / "1" / "model.xml"
    path.parent.mkdir(parents=True)
    openvino.save_model(graph(), path, compress_to_fp16=False)
    return path
