"""TorchScript: what PyTorch scripts of a module, and ``torch.jit.load``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks.runtimes import torch as eager
from benchmarks.workload import MLP

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.model import Floats
    from benchmarks.workload import Workload

KIND: Final = eager.KIND
OPTIONS: Final = eager.OPTIONS


def write(load: Workload, version: Path) -> None:
    """See Runtime."""
    import torch  # noqa: PLC0415  # 3 s that its users alone pay

    class Named(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = eager.network(load)

    class OfRows(Named):
        def forward(self, x: Any) -> Any:
            return self.net(x)

    class OfImages(Named):
        def forward(self, image: Any) -> Any:
            return self.net(image)

    named = OfRows() if load.name == MLP.name else OfImages()
    jit: Any = torch.jit  # which has no types
    jit.save(jit.trace(named.eval(), torch.zeros(2, *load.row_shape)), version / "model.ts")
    eager.write_signature(load, version)


def run(load: Workload, version: Path) -> Callable[[Floats], Floats]:  # noqa: ARG001  # there is one output
    """See Runtime."""
    import torch  # noqa: PLC0415  # likewise

    torch.set_num_threads(1)
    jit: Any = torch.jit  # which has no types
    module = jit.load(version / "model.ts")

    def predict(rows: Floats) -> Floats:
        with torch.inference_mode():
            answer: Floats = module(torch.from_numpy(rows)).numpy()
        return answer

    return predict
