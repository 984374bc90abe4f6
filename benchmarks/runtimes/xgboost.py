"""XGBoost: boosted trees in its JSON, and its booster."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks import digits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.model import Floats
    from benchmarks.workload import Workload

KIND: Final = "xgboost"
OPTIONS: Final = {"threads": 1}


def write(load: Workload, version: Path) -> None:
    """See Runtime."""
    import xgboost  # noqa: PLC0415  # its users alone pay for it

    settings = {"objective": "multi:softprob", "num_class": load.classes, "nthread": 1}
    rounds = digits.TREES // load.classes
    xgboost.train(settings, xgboost.DMatrix(*digits.table()), rounds).save_model(version / "model.json")


def run(load: Workload, version: Path) -> Callable[[Floats], Floats]:  # noqa: ARG001  # there is one
    """See Runtime."""
    import xgboost  # noqa: PLC0415  # likewise

    booster = xgboost.Booster({"nthread": 1}, model_file=version / "model.json")

    def predict(rows: Floats) -> Floats:
        answer: Floats = booster.inplace_predict(rows)
        return answer

    return predict
