"""NumPy: a Python class that is a servable, and the same by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks import model
from benchmarks.workload import WIDE, WIDE_HIDDEN

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.model import Floats
    from benchmarks.workload import Workload

KIND: Final = "python"
OPTIONS: Final = {"allow_code_in_version": True}
_SERVABLE: Final = f"""
import numpy as np

class Servable:
    inputs = {{"{model.INPUT}": ("FP32", [-1, {model.FEATURES}])}}
    outputs = {{"{model.OUTPUT}": ("FP32", [-1, {model.CLASSES}])}}

    def load(self, path):
        self.first, self.second = np.load(path / "first.npy"), np.load(path / "second.npy")

    def predict(self, inputs):
        return {{"{model.OUTPUT}": np.maximum(inputs["{model.INPUT}"] @ self.first, 0) @ self.second}}
"""


def write(load: Workload, version: Path) -> None:
    """See Runtime."""
    import numpy as np  # noqa: PLC0415  # this module has its name

    hidden = WIDE_HIDDEN if load.name == WIDE.name else model.HIDDEN
    for name, weights in zip(("first", "second"), model.weights(hidden), strict=True):
        np.save(version / f"{name}.npy", weights)
    (version / "servable.py").write_text(_SERVABLE)


def run(load: Workload, version: Path) -> Callable[[Floats], Floats]:  # noqa: ARG001  # likewise
    """See Runtime."""
    import numpy as np  # noqa: PLC0415  # likewise

    first, second = np.load(version / "first.npy"), np.load(version / "second.npy")

    def predict(rows: Floats) -> Floats:
        answer: Floats = np.maximum(rows @ first, 0) @ second
        return answer

    return predict
