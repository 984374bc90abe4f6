"""scikit-learn models: answers equal the library's, and files that would harm never get as far as being made."""

from __future__ import annotations

import io
import json
import pickle
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io
from scipy.sparse import csr_matrix
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_digits
from sklearn.ensemble import (
    GradientBoostingClassifier,
    HistGradientBoostingClassifier,
    IsolationForest,
    RandomForestClassifier,
)
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multioutput import MultiOutputRegressor
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeRegressor

from pipeline.errors import InvalidArtefact, InvalidSettings
from pipeline.registry.servable import Servable, ServableId
from pipeline.servables import sklearn_file
from pipeline.servables.sklearn import adapter

X, Y = load_digits(return_X_y=True)
X, Y = X[:600], Y[:600]
NAMES = np.array([f"digit {y}" for y in range(10)])


def load(path: Path, **options: Any) -> Servable:
    return adapter().loader(ServableId("m", 1), path, options).load()


def served(model: Any, path: Path, **options: Any) -> Servable:
    skops.io.dump(model, path / "model.skops")
    return load(path, **options)


CLASSIFIERS = [
    LogisticRegression(max_iter=20),
    RandomForestClassifier(5),
    GradientBoostingClassifier(n_estimators=2, max_depth=2),
    HistGradientBoostingClassifier(max_iter=2),
    SVC(),
    KNeighborsClassifier(algorithm="brute"),
    make_pipeline(StandardScaler(), MLPClassifier((5,), max_iter=3)),
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("model", CLASSIFIERS, ids=lambda model: type(model).__name__)
def test_a_classifier_answers_as_the_library_does_bit_for_bit(model: Any, tmp_path: Path) -> None:
    model.fit(X, Y)
    answer = served(model, tmp_path).predict("serving_default", {"x": X})
    assert np.array_equal(answer["label"], model.predict(X))
    assert answer["label"].dtype == np.int64
    assert ("probabilities" in answer) == hasattr(model, "predict_proba")
    if "probabilities" in answer:
        assert np.array_equal(answer["probabilities"], model.predict_proba(X))


def test_each_method_is_a_signature_of_its_own(tmp_path: Path) -> None:
    model = LogisticRegression(max_iter=20).fit(X, Y)
    servable = served(model, tmp_path)
    assert set(servable.signatures) == {"serving_default", "predict", "predict_proba", "decision_function"}
    for method, output in (("predict", "label"), ("predict_proba", "probabilities"), ("decision_function", "scores")):
        assert np.array_equal(servable.predict(method, {"x": X})[output], getattr(model, method)(X))


def test_classes_that_are_text_are_bytes(tmp_path: Path) -> None:
    answer = served(RandomForestClassifier(3).fit(X, NAMES[Y]), tmp_path).predict("predict", {"x": X[:3]})
    assert all(isinstance(label, bytes) and label.startswith(b"digit ") for label in answer["label"])


@pytest.mark.parametrize(
    ("model", "targets"),
    [(Ridge(), Y), (SVR(), Y), (MultiOutputRegressor(DecisionTreeRegressor(max_depth=3)), X[:, 20:22])],
)
def test_a_regressor_answers_as_the_library_does(model: Any, targets: Any, tmp_path: Path) -> None:
    model.fit(X, targets)
    servable = served(model, tmp_path)
    assert servable.signatures["serving_default"].outputs[0].shape == (-1, *targets.shape[1:])
    assert np.array_equal(servable.predict("serving_default", {"x": X})["prediction"], model.predict(X))


@pytest.mark.parametrize("model", [KMeans(3, n_init=1), IsolationForest(n_estimators=5)])
def test_clusters_and_outliers_are_labels(model: Any, tmp_path: Path) -> None:
    model.fit(X)
    assert np.array_equal(served(model, tmp_path).predict("serving_default", {"x": X})["label"], model.predict(X))


def test_a_transformer_answers_with_what_it_makes_dense(tmp_path: Path) -> None:
    model = OneHotEncoder(handle_unknown="ignore").fit(X[:, :3])
    answer = served(model, tmp_path).predict("serving_default", {"x": X[:, :3]})
    assert np.array_equal(answer["transformed"], model.transform(X[:, :3]).toarray())


def test_what_works_in_place_leaves_the_request_alone(tmp_path: Path) -> None:
    servable = served(StandardScaler(copy=False).fit(X.copy()), tmp_path)
    request = X.copy()
    request.setflags(write=False)
    servable.predict("serving_default", {"x": request})
    assert np.array_equal(request, X)


def test_a_pipeline_that_begins_with_a_vectorizer_takes_text(tmp_path: Path) -> None:
    texts = ["good day", "bad day", "good night", "bad night"]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression()).fit(texts, [1, 0, 1, 0])
    answer = served(model, tmp_path).predict("serving_default", {"x": np.array([b"good", b"bad"], object)})
    assert np.array_equal(answer["probabilities"], model.predict_proba(["good", "bad"]))


@pytest.fixture
def by_column() -> Any:
    frame = pd.DataFrame({"age": [20.0, 30.0, 40.0, 50.0], "city": ["Bern", "Oslo", "Bern", "Rome"], "n": [1, 2, 3, 4]})
    columns = ColumnTransformer([("n", StandardScaler(), ["age", "n"]), ("c", OneHotEncoder(), ["city"])])
    return make_pipeline(columns, LogisticRegression()).fit(frame, [0, 1, 0, 1]), frame


def test_columns_are_inputs_by_name_and_an_unknown_category_fails_its_request(by_column: Any, tmp_path: Path) -> None:
    model, frame = by_column
    servable = served(model, tmp_path, columns={"city": "BYTES", "n": "INT64"})
    assert [(i.name, i.datatype) for i in servable.signatures["serving_default"].inputs] == [
        ("age", "FP64"), ("city", "BYTES"), ("n", "INT64"),
    ]  # fmt: skip
    inputs = {
        "age": frame["age"].to_numpy(),
        "city": np.array([city.encode() for city in frame["city"]], object),
        "n": frame["n"].to_numpy(),
    }
    got = servable.predict("serving_default", inputs)
    assert np.array_equal(got["probabilities"], model.predict_proba(frame))
    with pytest.raises(ValueError, match="unknown categories"):
        servable.predict("serving_default", inputs | {"city": np.array([b"Atlantis"] * 4, object)})


@pytest.mark.parametrize(
    ("columns", "reason"), [({}, "say in columns"), ({"town": "BYTES"}, "town are not of the model")]
)
def test_columns_that_do_not_fit_the_model_are_the_settings_fault(
    columns: Any, reason: str, by_column: Any, tmp_path: Path
) -> None:
    with pytest.raises(InvalidSettings, match=reason):
        served(by_column[0], tmp_path, columns=columns)


@pytest.mark.filterwarnings("error:X does not have valid feature names")
def test_a_model_of_a_data_frame_of_numbers_takes_one_tensor_and_warns_nobody(tmp_path: Path) -> None:
    frame = pd.DataFrame(X, columns=[f"pixel {n}" for n in range(64)])
    model = RandomForestClassifier(3).fit(frame, Y)
    servable = served(model, tmp_path)
    assert np.array_equal(servable.predict("predict", {"x": X})["label"], model.predict(frame))


def test_no_pool_is_started_for_a_request_unless_threads_say_so(tmp_path: Path) -> None:
    model = RandomForestClassifier(3, n_jobs=-1).fit(X, Y)
    for options, threads in (({}, 1), ({"threads": 2}, 2)):
        servable = served(model, tmp_path, **options)
        assert (servable._estimator.n_jobs, servable.description.threads) == (threads, threads)


# -- what is refused --------------------------------------------------------------------------------------------------


def test_types_that_nobody_allowed_are_listed_and_those_that_are_allowed_are_noted(tmp_path: Path) -> None:
    model = HistGradientBoostingClassifier(max_iter=1, categorical_features=[20]).fit(X, Y)
    types = ["functools.partial", "sklearn.utils.validation.check_array"]
    with pytest.raises(InvalidArtefact, match=r"not allowed: functools.partial, sklearn.utils.validation.check_array;"):
        served(model, tmp_path)
    servable = load(tmp_path, trusted=types)
    assert servable.description.notes == (f"types allowed by the settings: {', '.join(types)}",)
    assert np.array_equal(servable.predict("predict", {"x": X})["label"], model.predict(X))


def test_a_function_that_would_run_is_refused_before_its_module_is_imported(tmp_path: Path) -> None:
    content = _with_schema(FunctionTransformer(np.exp).fit(X), lambda text: text.replace('"exp"', '"system"').replace(
        '"numpy"', '"antigravity"'))  # fmt: skip
    (tmp_path / "model.skops").write_bytes(content)
    with pytest.raises(InvalidArtefact, match=r"not allowed: antigravity\.system"):
        load(tmp_path)
    assert "antigravity" not in sys.modules


@pytest.mark.parametrize("name", ["model.pkl", "model.joblib"])
def test_a_pickle_is_not_opened_and_the_error_says_how_to_convert_it(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(pickle.dumps(Ridge()))
    assert not adapter().detect(tmp_path)
    with pytest.raises(InvalidArtefact, match=rf'skops\.io\.dump\(joblib\.load\("{name}"\)'):
        load(tmp_path)


def test_the_versions_of_a_file_from_elsewhere_are_noted(tmp_path: Path) -> None:
    import sklearn

    text = _with_schema(Ridge().fit(X, Y), lambda text: text.replace(sklearn.__version__, "1.2.3"))
    (tmp_path / "model.skops").write_bytes(text)
    with pytest.warns(match="from version 1.2.3"):
        servable = load(tmp_path)
    assert servable.description.notes == (f"saved with scikit-learn 1.2.3, loaded by {sklearn.__version__}",)


def _with_schema(model: Any, change: Callable[[str], str]) -> bytes:
    def change_schema(name: str, data: bytes) -> bytes:
        return change(data.decode()).encode() if name == "schema.json" else data

    return _rewritten(skops.io.dumps(model), change_schema)


def _rewritten(content: bytes, change: Callable[[str, bytes], bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return made.getvalue()


def _harmed(model: Any, change: Callable[[Any], None]) -> Any:
    """Change an array that is made anew, as the state of a tree is, by putting another state in."""
    tree = model.estimators_[0].tree_
    state = tree.__getstate__()
    state["nodes"] = state["nodes"].copy()
    change(state)
    tree.__setstate__(state)
    return model


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("left_child", 10_000, "a child has number 10000"),
        ("left_child", 0, "its own ancestor"),
        ("right_child", -1, "one child only"),
        ("feature", 64, "none of the 64"),
        ("feature", -5, "none of the 64"),
    ],
)
def test_a_tree_whose_walks_would_leave_it_is_refused(field: str, value: int, reason: str, tmp_path: Path) -> None:
    def change(state: Any) -> None:
        state["nodes"][field][0] = value

    with pytest.raises(InvalidArtefact, match=reason):
        served(_harmed(RandomForestClassifier(2, random_state=0).fit(X, Y), change), tmp_path)


def test_a_tree_with_more_nodes_than_it_has_is_refused(tmp_path: Path) -> None:
    model = DecisionTreeRegressor(max_depth=2).fit(X, Y)
    count = f'"content": "{model.tree_.node_count}"'
    content = _with_schema(model, lambda text: text.replace(count, '"content": "7000000"'))
    (tmp_path / "model.skops").write_bytes(content)
    with pytest.raises(InvalidArtefact, match="7000000 nodes"):
        load(tmp_path)


def _change_node(model: Any, field: str, value: int) -> None:
    model._predictors[0][0].nodes[field][0] = value


def _put(model: Any, **attributes: Any) -> None:
    vars(model).update(attributes)


@pytest.mark.parametrize(
    ("model", "harm", "reason"),
    [
        (HistGradientBoostingClassifier(max_iter=1), lambda m: _change_node(m, "feature_idx", 64), "none of the 64"),
        (HistGradientBoostingClassifier(max_iter=1), lambda m: _change_node(m, "left", 9999), "has number 9999"),
        (HistGradientBoostingClassifier(max_iter=1), lambda m: _change_node(m, "is_categorical", 1), "no set"),
        (HistGradientBoostingClassifier(max_iter=1), lambda m: m._predictors[0].pop(), "trees in a stage"),
        (DecisionTreeRegressor(max_depth=2), lambda m: _put(m, n_features_in_=3), "n_features_in_"),
        (SVC(), lambda m: _put(m, _dual_coef_=m._dual_coef_[:, :2].copy()), "dual_coef_"),
        (SVC(), lambda m: _put(m, _n_support=m._n_support * 100), "sum of _n_support"),
        (SVR(), lambda m: _put(m, support_vectors_=m.support_vectors_[:, :2].copy()), "features of its vectors"),
        (KNeighborsClassifier(algorithm="brute"), lambda m: _put(m, _y=m._y + 5), "none of the 10"),
        (KMeans(3, n_init=1), lambda m: _put(m, n_features_in_=99), "features of its centres"),
    ],
)
def test_fitted_arrays_that_compiled_code_would_follow_are_refused(
    model: Any, harm: Callable[[Any], Any], reason: str, tmp_path: Path
) -> None:
    model = type(model)(**model.get_params()).fit(X, Y)
    served(model, tmp_path)
    harm(model)
    with pytest.raises(InvalidArtefact, match=reason):
        served(model, tmp_path)


def _zip(members: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return made.getvalue()


def _huge_array(_: str, data: bytes) -> bytes:
    return data.replace(b"(64,)", b"(9999999999,)", 1) if data.startswith(b"\x93NUMPY") else data


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (_zip({"schema.json": b" " * (70 << 20)}), "the limit is"),
        (_zip({"schema.json": b"{}", "../../etc/passwd": b""}), "leads out of it"),
        (_zip({"schema.json": b'{"a":' * 200_000}), "RecursionError"),
        (_zip({"schema.json": json.dumps({"protocol": 99}).encode()}), "protocol"),
        (_rewritten(skops.io.dumps(Ridge().fit(X, Y)), _huge_array), "does not fit its"),
        (skops.io.dumps({"a": 1}), "expected an estimator"),
        (skops.io.dumps(Ridge()), "can not use"),
        (b"PK", "not a zip file"),
    ],
)
def test_archives_that_would_harm_are_refused(content: bytes, reason: str, tmp_path: Path) -> None:
    (tmp_path / "model.skops").write_bytes(content)
    with pytest.raises(InvalidArtefact, match=reason):
        load(tmp_path)


def test_an_archive_inside_an_archive_is_held_to_the_same(tmp_path: Path) -> None:
    model = KNeighborsClassifier(algorithm="brute").fit(csr_matrix(X), Y)
    bomb = _zip({"data.npy": b"\0" * (70 << 20)})
    content = _rewritten(skops.io.dumps(model), lambda name, data: bomb if name.endswith(".npz") else data)
    (tmp_path / "model.skops").write_bytes(content)
    with pytest.raises(InvalidArtefact, match="the limit is"):
        load(tmp_path, trusted=["scipy.sparse._csr.csr_matrix"])


def test_members_that_overlap_are_refused() -> None:
    content = bytearray(_zip({"schema.json": bytes(range(256)) * 40}))
    directory = content.index(b"PK\x01\x02")
    content[directory + 20 : directory + 24] = (10 << 20).to_bytes(4, "little")
    with pytest.raises(ValueError, match="overlap"):
        sklearn_file.check_archive(bytes(content))
