"""LightGBM: boosted trees in its text, and its booster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, cast

from benchmarks import digits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.model import Floats
    from benchmarks.workload import Workload

KIND: Final = "lightgbm"
OPTIONS: Final = {"datatype": "FP32", "threads": 1}


def write(load: Workload, version: Path) -> None:
    """See Runtime."""
    import lightgbm  # noqa: PLC0415  # its users alone pay for it

    settings = {"objective": "multiclass", "num_class": load.classes, "num_threads": 1, "verbose": -1}
    rounds = digits.TREES // load.classes
    lightgbm.train(settings, lightgbm.Dataset(*digits.table()), rounds).save_model(version / "model.txt")


def run(load: Workload, version: Path) -> Callable[[Floats], Floats]:  # noqa: ARG001  # there is one
    """See Runtime."""
    import lightgbm  # noqa: PLC0415  # likewise

    booster = lightgbm.Booster(model_file=version / "model.txt")

    def predict(rows: Floats) -> Floats:
        return cast("Floats", booster.predict(rows, num_threads=1))

    return predict
