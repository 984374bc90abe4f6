"""Versions of scikit-learn, XGBoost and LightGBM models come and go, and the memory of the process stays."""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightgbm
import pytest
import skops.io
import xgboost
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier

from pipeline.registry.servable import ServableId
from pipeline.servables import kinds

X, Y = load_digits(return_X_y=True)


def _sklearn(path: Path) -> None:
    skops.io.dump(RandomForestClassifier(10).fit(X, Y), path / "model.skops")


def _xgboost(path: Path) -> None:
    xgboost.train({"nthread": 1}, xgboost.DMatrix(X, Y), 20).save_model(path / "model.ubj")


def _lightgbm(path: Path) -> None:
    lightgbm.train({"num_threads": 1, "verbose": -1}, lightgbm.Dataset(X, Y), 20).save_model(path / "model.txt")


def _resident_kib() -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))


@pytest.mark.parametrize("write", [_sklearn, _xgboost, _lightgbm])
def test_thirty_swaps_leave_the_memory_of_the_fifth(write: Callable[[Path], None], tmp_path: Path) -> None:
    write(tmp_path)
    adapter: Any = kinds.load_adapter(write.__name__[1:])
    after_kib = {}
    for version in range(30):
        loader = adapter.loader(ServableId("m", version), tmp_path, {})
        servable = loader.load()
        servable.predict("serving_default", {"x": X[:200].astype("f4" if write is _xgboost else "f8")})
        del servable
        loader.unload()
        if version in (4, 29):  # a collection takes a third of a second with all these libraries
            gc.collect()
            after_kib[version] = _resident_kib()
    assert after_kib[29] < 1.05 * after_kib[4]
