"""scikit-learn, XGBoost and LightGBM models keep the contract of servables."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import lightgbm
import numpy as np
import skops.io
import xgboost
from sklearn.datasets import load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.preprocessing import StandardScaler

from pipeline.testing.servable_contract import ServableContract

X, Y = load_iris(return_X_y=True)
NAMES = np.array(["setosa", "versicolor", "virginica"])[Y]
FRAMEWORKS = (*ServableContract.frameworks, "lightgbm", "pandas", "skops", "xgboost")
FEW = {"verbose": -1, "num_threads": 1, "num_leaves": 5, "min_data_per_group": 1}


class TestSklearn(ServableContract):
    entry_point = "pipeline.servables.sklearn:adapter"
    frameworks = FRAMEWORKS
    wrong_options: ClassVar = {"datatype": "FP16"}
    damaged_versions = 200

    def write_version(self, path: Path) -> None:
        path.mkdir()
        skops.io.dump(RandomForestClassifier(5, random_state=0).fit(X, NAMES), path / "model.skops")

    def write_broken_version(self, path: Path) -> None:
        path.mkdir()
        (path / "model.skops").write_bytes(b"PK\x03\x04")


class TestSklearnTransformerOfOneFile(TestSklearn):
    damaged_versions = 0  # the fields of its file differ little from those above

    def write_version(self, path: Path) -> None:
        skops.io.dump(StandardScaler().fit(X), path)

    def write_broken_version(self, path: Path) -> None:
        path.write_bytes(b"PK\x03\x04")


class TestXgboostJson(ServableContract):
    entry_point = "pipeline.servables.xgboost:adapter"
    frameworks = FRAMEWORKS
    wrong_options: ClassVar = {"threads": 0}
    damaged_versions = 200
    suffix = "json"
    parameters: ClassVar = {"objective": "multi:softprob", "num_class": 3, "max_depth": 3}

    def write_version(self, path: Path) -> None:
        path.mkdir()
        data = xgboost.DMatrix(X.round(), Y, feature_types=["q", "q", "q", "c"])
        xgboost.train({"nthread": 1, **self.parameters}, data, 3).save_model(path / f"model.{self.suffix}")

    def write_broken_version(self, path: Path) -> None:
        path.mkdir()
        (path / f"model.{self.suffix}").write_text('{"learner":{}}')


class TestXgboostUbjson(TestXgboostJson):
    suffix = "ubj"


class TestXgboostDart(TestXgboostJson):
    parameters: ClassVar = {"objective": "count:poisson", "booster": "dart", "rate_drop": 0.5}
    damaged_versions = 0  # the fields of its file differ little from those above


class TestXgboostLinear(TestXgboostJson):
    parameters: ClassVar = {"booster": "gblinear"}
    damaged_versions = 0  # the fields of its file differ little from those above

    def write_version(self, path: Path) -> None:
        path.mkdir()
        xgboost.train(self.parameters, xgboost.DMatrix(X, Y), 2).save_model(path / "model.json")


class TestLightgbm(ServableContract):
    entry_point = "pipeline.servables.lightgbm:adapter"
    frameworks = FRAMEWORKS
    wrong_options: ClassVar = {"iterations": -1}
    damaged_versions = 200
    parameters: ClassVar = {"objective": "multiclass", "num_class": 3}

    def write_version(self, path: Path) -> None:
        path.mkdir()
        data = lightgbm.Dataset(X.round(), Y, categorical_feature=[3])
        lightgbm.train({**FEW, **self.parameters}, data, 3).save_model(path / "model.txt")

    def write_broken_version(self, path: Path) -> None:
        path.mkdir()
        (path / "model.txt").write_text("tree\nversion=v4\nnum_class=1\n")


class TestLightgbmLinearTrees(TestLightgbm):
    options: ClassVar = {"datatype": "FP32"}
    parameters: ClassVar = {"objective": "regression", "linear_tree": True}
    damaged_versions = 0
