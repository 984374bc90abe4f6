"""scikit-learn: a random forest in a skops file, and ``skops.io.load``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks import digits

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from benchmarks.model import Floats
    from benchmarks.workload import Workload

KIND: Final = "sklearn"
OPTIONS: Final = {"datatype": "FP32"}


def write(load: Workload, version: Path) -> None:  # noqa: ARG001  # there is one
    """See Runtime."""
    import skops.io  # noqa: PLC0415  # its users alone pay for it
    from sklearn.ensemble import RandomForestClassifier  # noqa: PLC0415  # likewise

    skops.io.dump(RandomForestClassifier(digits.TREES, random_state=0).fit(*digits.table()), version / "model.skops")


def run(load: Workload, version: Path) -> Callable[[Floats], Floats]:  # noqa: ARG001  # likewise
    """See Runtime."""
    import skops.io  # noqa: PLC0415  # likewise

    forest = skops.io.load(version / "model.skops", trusted=["sklearn.tree._tree.Tree"])

    def predict(rows: Floats) -> Floats:
        answer: Floats = forest.predict_proba(rows)
        return answer

    return predict
