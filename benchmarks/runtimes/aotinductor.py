"""AOTInductor: a package that PyTorch compiles with a C++ compiler, and its loader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks.runtimes import torch as eager

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.model import Floats
    from benchmarks.workload import Workload

KIND: Final = eager.KIND
OPTIONS: Final = {**eager.OPTIONS, "allow_native_code": True}


def write(load: Workload, version: Path) -> None:
    """See Runtime. Minutes, for large networks."""
    import torch  # noqa: PLC0415  # 3 s that its users alone pay

    rows = torch.zeros(2, *load.row_shape)
    shapes = ({0: torch.export.Dim("batch", min=1, max=4096)},)
    program = torch.export.export(eager.network(load).eval(), (rows,), dynamic_shapes=shapes)
    torch._inductor.aoti_compile_and_package(program, package_path=str(version / "model.pt2"))  # noqa: SLF001  # there is no other name
    eager.write_signature(load, version)


def run(load: Workload, version: Path) -> Callable[[Floats], Floats]:  # noqa: ARG001  # there is one output
    """See Runtime."""
    import torch  # noqa: PLC0415  # likewise

    torch.set_num_threads(1)
    module = torch._inductor.aoti_load_package(str(version / "model.pt2"))  # noqa: SLF001  # likewise

    def predict(rows: Floats) -> Floats:
        answer: Floats = module(torch.from_numpy(rows)).numpy()
        return answer

    return predict
