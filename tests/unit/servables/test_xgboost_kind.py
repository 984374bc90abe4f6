"""XGBoost models: answers equal the library's, and files that would harm native code never reach it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xgboost
from sklearn.datasets import load_breast_cancer, load_digits

from pipeline.errors import InvalidArtefact, InvalidSettings
from pipeline.registry.servable import Servable, ServableId
from pipeline.servables.xgboost import adapter

X, Y = load_digits(return_X_y=True)
X = X.astype(np.float32)


def train(objective: str, answers: Any = Y, rounds: int = 3, x: Any = X, **parameters: Any) -> xgboost.Booster:
    return xgboost.train(
        {"objective": objective, "max_depth": 3, "nthread": 1, **parameters}, xgboost.DMatrix(x, answers), rounds
    )


def load(path: Path, **options: Any) -> Servable:
    return adapter().loader(ServableId("m", 1), path, options).load()


def served(model: Any, path: Path, **options: Any) -> Servable:
    model.save_model(path / "model.ubj")
    return load(path, **options)


@pytest.mark.parametrize("suffix", ["json", "ubj"])
def test_probabilities_of_many_classes_are_those_of_the_library_bit_for_bit(suffix: str, tmp_path: Path) -> None:
    model = train("multi:softprob", num_class=10)
    model.save_model(tmp_path / f"model.{suffix}")
    answer = load(tmp_path).predict("serving_default", {"x": X})
    expected = model.predict(xgboost.DMatrix(X))
    assert np.array_equal(answer["probabilities"], expected)
    assert np.array_equal(answer["label"], expected.argmax(axis=1))


def test_two_classes_have_two_probabilities_and_missing_values_are_nan(tmp_path: Path) -> None:
    x, y = load_breast_cancer(return_X_y=True)
    x = x.astype(np.float32)
    x[::3, ::4] = np.nan
    model = xgboost.XGBClassifier(n_estimators=5).fit(x, y)
    answer = served(model, tmp_path).predict("serving_default", {"x": x})
    assert np.array_equal(answer["probabilities"], model.predict_proba(x))
    assert np.array_equal(answer["label"], model.predict(x))


@pytest.mark.parametrize(
    ("objective", "parameters", "answers"),
    [
        ("reg:squarederror", {}, Y),
        ("reg:squarederror", {}, np.stack([Y, Y % 3], axis=1)),
        ("count:poisson", {"booster": "dart", "rate_drop": 0.5}, Y),
        ("reg:squarederror", {"booster": "gblinear"}, Y),
        ("binary:logitraw", {}, Y % 2),
        ("survival:cox", {}, Y + 1),
    ],
)
def test_predictions_and_margins_are_those_of_the_library(
    objective: str, parameters: dict[str, Any], answers: Any, tmp_path: Path
) -> None:
    if parameters.get("booster") == "gblinear":
        model = xgboost.train({"objective": objective, **parameters}, xgboost.DMatrix(X, answers), 3)
    else:
        model = train(objective, answers, **parameters)
    servable = served(model, tmp_path)
    for signature, is_margin in (("serving_default", False), ("margin", True)):
        expected = model.predict(xgboost.DMatrix(X), output_margin=is_margin)
        [got] = servable.predict(signature, {"x": X}).values()
        # A weighted sum of trees (dart) is taken in another order by the matrix.
        np.testing.assert_allclose(got, expected, rtol=1e-5 if "booster" in parameters else 0)


@pytest.mark.parametrize(("objective", "classes"), [("multi:softmax", 10), ("binary:hinge", 0)])
def test_objectives_that_answer_with_a_class_have_only_a_label(objective: str, classes: int, tmp_path: Path) -> None:
    model = train(objective, Y if classes else Y % 2, num_class=classes)
    answer = served(model, tmp_path).predict("serving_default", {"x": X})
    assert answer.keys() == {"label"}
    assert np.array_equal(answer["label"], model.predict(xgboost.DMatrix(X)))


def test_the_best_round_of_early_stopping_answers_unless_told_otherwise(tmp_path: Path) -> None:
    half = slice(None, 900)
    model = xgboost.XGBRegressor(n_estimators=200, learning_rate=1.0, max_depth=3, early_stopping_rounds=2)
    model.fit(X[half], Y[half], eval_set=[(X[900:], Y[900:])], verbose=False)
    best, rounds = model.best_iteration + 1, model.get_booster().num_boosted_rounds()
    assert best < rounds
    servable = served(model, tmp_path)
    assert np.array_equal(servable.predict("serving_default", {"x": X})["prediction"], model.predict(X))
    assert servable.description.notes == (f"answers with the first {best} of {rounds} rounds",)
    for iterations in (0, 1):
        expected = model.get_booster().predict(xgboost.DMatrix(X), iteration_range=(0, iterations))
        got = load(tmp_path, iterations=iterations).predict("serving_default", {"x": X})["prediction"]
        assert np.array_equal(got, expected)
    with pytest.raises(InvalidSettings, match=f"iterations is 999, model.ubj has {rounds}"):
        load(tmp_path, iterations=999)


def test_no_rows_are_answered_with_none(tmp_path: Path) -> None:
    answer = served(train("multi:softprob", num_class=10), tmp_path).predict("serving_default", {"x": X[:0]})
    assert (answer["label"].shape, answer["probabilities"].shape) == ((0,), (0, 10))


def test_answers_are_the_callers_own(tmp_path: Path) -> None:
    servable = served(train("reg:squarederror"), tmp_path)
    first = servable.predict("serving_default", {"x": X})["prediction"]
    kept = first.copy()
    servable.predict("serving_default", {"x": X[::-1].copy()})
    assert np.array_equal(first, kept)


def test_other_json_beside_the_model_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "metadata.json").write_text('{"owner": "me"}')
    assert not adapter().detect(tmp_path)
    served(train("reg:squarederror"), tmp_path)
    assert adapter().detect(tmp_path)


@pytest.fixture(scope="module")
def good() -> Any:
    x = np.stack([Y % 7, X[:, 20], X[:, 21]], axis=1)
    data = xgboost.DMatrix(x, Y, feature_types=["c", "q", "q"])
    parameters = {"objective": "multi:softprob", "num_class": 10, "max_depth": 3, "max_cat_to_onehot": 1}
    model = xgboost.train(parameters, data, 2)
    return json.loads(model.save_raw("json"))


def _trees(model: Any) -> Any:
    return model["learner"]["gradient_booster"]["model"]


def _split_by_category(model: Any) -> Any:
    return next(tree for tree in _trees(model)["trees"] if tree["categories_nodes"])


def _set(values: Any, place: Any, value: Any) -> None:
    values[place] = value


HARMS: dict[str, Callable[[Any], Any]] = {
    "has number 99": lambda m: _set(_trees(m)["trees"][0]["left_children"], 0, 99),
    "has number -2": lambda m: _set(_trees(m)["trees"][0]["right_children"], 0, -2),
    "its own ancestor": lambda m: _set(_trees(m)["trees"][0]["left_children"], 0, 0),
    "one child only": lambda m: _set(_trees(m)["trees"][0]["right_children"], 0, -1),
    "none of the 3": lambda m: _set(_trees(m)["trees"][0]["split_indices"], 0, 3),
    "no list of integers": lambda m: _set(_trees(m)["trees"][0]["left_children"], 0, 1.5),
    "length of default_left": lambda m: _trees(m)["trees"][0]["default_left"].append(1),
    "length of loss_changes": lambda m: _trees(m)["trees"][0]["loss_changes"].clear(),
    "names group 10": lambda m: _set(_trees(m)["tree_info"], 0, 10),
    "num_trees is": lambda m: _trees(m)["trees"].pop(),
    "iteration_indptr": lambda m: _set(_trees(m)["iteration_indptr"], -1, 1000),
    "nodes that split by category": lambda m: _set(_split_by_category(m)["categories_nodes"], 0, 1 << 20),
    "do not divide": lambda m: _set(_split_by_category(m)["categories_sizes"], 0, 1 << 30),
    "a category is not between": lambda m: _set(_split_by_category(m)["categories"], 0, 1 << 24),
    "num_class of the objective": lambda m: m["learner"]["objective"]["softmax_multiclass_param"].update(num_class="9"),
    "num_feature is '0'": lambda m: _set(m["learner"]["learner_model_param"], "num_feature", "0"),
    "expected gbtree, dart or gblinear": lambda m: _set(m["learner"]["gradient_booster"], "name", "gbforest"),
    "lacks 'tree_info'": lambda m: _trees(m).pop("tree_info"),
}


@pytest.mark.parametrize("reason", HARMS)
def test_an_index_or_length_that_native_code_would_follow_is_refused(reason: str, good: Any, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(json.dumps(good))
    load(tmp_path)
    harmed = copy.deepcopy(good)
    HARMS[reason](harmed)
    (tmp_path / "model.json").write_text(json.dumps(harmed))
    with pytest.raises(InvalidArtefact, match=reason):
        load(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"learner":' + '{"a":' * 100_000, "nested deeper than 32"),
        ('{"learner":' + "[" * 100_000, "nested deeper than 32"),
        ('{"learner":1,"learner":{}}', "stands twice"),
        ('{"learner":{}} more', "something follows"),
        ('{"learner', "sound"),
        ("{L\0\0\0\0\0\0\0\7learner" + "{L\0\0\0\0\0\0\0\1a" * 100, "nested deeper than 32"),
        ("{L\0\0\0\0\0\0\0\7learner[$d#L\x7f\0\0\0\0\0\0\0", "bytes are missing"),
        ("{L\0\0\0\0\0\0\0\7learner[#L\x7f\0\0\0\0\0\0\0", "bytes are missing"),
    ],
)
def test_text_that_only_looks_like_a_model_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(InvalidArtefact, match=reason):
        load(tmp_path)
