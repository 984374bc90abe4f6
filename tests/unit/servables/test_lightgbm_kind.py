"""LightGBM models: answers equal the library's, and files that would harm native code never reach it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import lightgbm
import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits

from pipeline.errors import InvalidArtefact, InvalidSettings
from pipeline.registry.servable import Servable, ServableId
from pipeline.servables.lightgbm import adapter

X, Y = load_digits(return_X_y=True)
FEW = {"verbose": -1, "num_threads": 1, "num_leaves": 7, "min_data_per_group": 1}


def train(objective: str, answers: Any = Y, rounds: int = 3, x: Any = X, **parameters: Any) -> lightgbm.Booster:
    categories = parameters.pop("categories", "auto")
    data = lightgbm.Dataset(x, answers, categorical_feature=categories)
    return lightgbm.train({"objective": objective, **FEW, **parameters}, data, rounds)


def load(path: Path, **options: Any) -> Servable:
    return adapter().loader(ServableId("m", 1), path, options).load()


def served(model: lightgbm.Booster, path: Path, **options: Any) -> Servable:
    model.save_model(path / "model.txt")
    return load(path, **options)


def test_probabilities_of_many_classes_are_those_of_the_library_bit_for_bit(tmp_path: Path) -> None:
    model = train("multiclass", num_class=10)
    servable = served(model, tmp_path)
    answer = servable.predict("serving_default", {"x": X})
    assert np.array_equal(answer["probabilities"], model.predict(X))
    assert np.array_equal(answer["label"], model.predict(X).argmax(axis=1))
    assert np.array_equal(servable.predict("margin", {"x": X})["margin"], model.predict(X, raw_score=True))


def test_two_classes_have_two_probabilities_and_missing_values_are_nan(tmp_path: Path) -> None:
    x, y = load_breast_cancer(return_X_y=True)
    x[::3, ::4] = np.nan
    model = lightgbm.LGBMClassifier(n_estimators=5, verbose=-1).fit(x, y)
    answer = served(model.booster_, tmp_path).predict("serving_default", {"x": x})
    assert np.array_equal(answer["probabilities"], model.predict_proba(x))
    assert np.array_equal(answer["label"], model.predict(x))


@pytest.mark.parametrize(
    ("objective", "parameters"),
    [
        ("regression", {}),
        ("regression", {"linear_tree": True}),
        ("poisson", {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}),
        ("regression", {"boosting": "dart"}),
        ("regression", {"categories": [20, 21, 28]}),
        ("cross_entropy", {}),
    ],
)
def test_predictions_are_those_of_the_library(objective: str, parameters: dict[str, Any], tmp_path: Path) -> None:
    model = train(objective, Y / 10 if objective == "cross_entropy" else Y, **parameters)
    got = served(model, tmp_path).predict("serving_default", {"x": X})["prediction"]
    assert np.array_equal(got, model.predict(X))


def test_inputs_may_be_fp32(tmp_path: Path) -> None:
    model = train("regression")
    servable = served(model, tmp_path, datatype="FP32")
    assert servable.signatures["serving_default"].inputs[0].datatype == "FP32"
    got = servable.predict("serving_default", {"x": X.astype(np.float32)})["prediction"]
    assert np.array_equal(got, model.predict(X.astype(np.float32)))


def test_as_many_rounds_answer_as_the_options_say(tmp_path: Path) -> None:
    model = train("regression")
    servable = served(model, tmp_path, iterations=2)
    got = servable.predict("serving_default", {"x": X})["prediction"]
    assert np.array_equal(got, model.predict(X, num_iteration=2))
    assert servable.description.notes == ("answers with the first 2 of 3 rounds",)
    with pytest.raises(InvalidSettings, match=r"iterations is 4, model\.txt has 3"):
        load(tmp_path, iterations=4)


def test_the_file_of_early_stopping_answers_up_to_its_best_round(tmp_path: Path) -> None:
    half = lightgbm.Dataset(X[:900], Y[:900])
    rest = lightgbm.Dataset(X[900:], Y[900:], reference=half)
    stop = lightgbm.early_stopping(2, verbose=False)
    parameters = {"objective": "regression", "learning_rate": 1.0, **FEW}
    model = lightgbm.train(parameters, half, 200, valid_sets=[rest], callbacks=[stop])
    assert model.best_iteration < 200
    assert np.array_equal(served(model, tmp_path).predict("serving_default", {"x": X})["prediction"], model.predict(X))


def test_no_rows_are_answered_with_none(tmp_path: Path) -> None:
    answer = served(train("multiclass", num_class=10), tmp_path).predict("serving_default", {"x": X[:0]})
    assert (answer["label"].shape, answer["probabilities"].shape) == ((0,), (0, 10))


def test_other_text_beside_the_model_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("tree of knowledge")
    assert not adapter().detect(tmp_path)
    served(train("regression"), tmp_path)
    assert adapter().detect(tmp_path)


def test_what_stands_after_the_trees_is_not_needed(tmp_path: Path) -> None:
    """LightGBM itself dies of a parameter section that is cut off."""
    model = train("regression")
    text = model.model_to_string()
    (tmp_path / "model.txt").write_text(text[: text.index("end of parameters") - 10])
    assert np.array_equal(load(tmp_path).predict("serving_default", {"x": X})["prediction"], model.predict(X))


@pytest.fixture(scope="module")
def good() -> str:
    x = np.stack([Y % 7.0, X[:, 20]], axis=1)
    return str(train("binary", Y % 2, x=x, categories=[0]).model_to_string())


def _harm(text: str, key: str, change: Any) -> str:
    """Change the first number of the first line of a key, and the sizes of the trees with it."""
    trees = text.index("\n\nTree=") + 2
    line = re.compile(rf"(?<=\n){key}=([^ \n]*)(?=[ \n])")
    before = line.search(text)
    assert before is not None, key
    new = f"{key}={change}"
    changed = text[: before.start()] + new + text[before.end() :]
    if before.start() < trees:
        return changed
    grown = len(new) - (before.end() - before.start())
    return re.sub(r"tree_sizes=(\d+)", lambda sizes: f"tree_sizes={int(sizes.group(1)) + grown}", changed, count=1)


@pytest.mark.parametrize(
    ("key", "change", "reason"),
    [
        ("left_child", "99", "has number 99"),
        ("left_child", "0", "its own ancestor"),
        ("right_child", "-99", "a leaf that is none of"),
        ("split_feature", "2", "none of the 2"),
        ("split_feature", "1.5", "no list of integers"),
        ("decision_type", "16", "decision_type"),
        ("threshold", "1 2", "threshold has"),
        ("leaf_value", "1 2", "leaf_value has"),
        ("internal_count", "", "internal_count has"),
        ("num_leaves", "8000000", "num_leaves"),
        ("num_cat", "1000", "num_cat"),
        ("num_cat", "0", "splits by category"),
        ("cat_boundaries", "5", "cat_boundaries"),
        ("tree_sizes", "1", "tree 0|tree_sizes"),
        ("tree_sizes", "99999999", "tree_sizes"),
        ("max_feature_idx", "999", "feature_names"),
        ("num_class", "5", "num_class"),
        ("num_tree_per_iteration", "7", "num_class"),
        ("version", "x", "version"),
        ("left_child", "x", "more than numbers"),
    ],
)
def test_an_index_or_length_that_native_code_would_follow_is_refused(
    key: str, change: str, reason: str, good: str, tmp_path: Path
) -> None:
    (tmp_path / "model.txt").write_text(good)
    load(tmp_path)
    (tmp_path / "model.txt").write_text(_harm(good, key, change))
    with pytest.raises(InvalidArtefact, match=reason):
        load(tmp_path)


@pytest.mark.parametrize("mark", ["\r", "\0"])
def test_a_line_that_native_code_would_end_elsewhere_is_refused(mark: str, good: str, tmp_path: Path) -> None:
    (tmp_path / "model.txt").write_bytes(good.replace("num_class=1", f"num_class=1{mark}", 1).encode())
    with pytest.raises(InvalidArtefact, match="carriage returns or NUL"):
        load(tmp_path)
