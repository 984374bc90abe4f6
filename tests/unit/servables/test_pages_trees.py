"""The pages about scikit-learn, XGBoost and LightGBM: what they export is served as they say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from pipeline.errors import MissingExtra
from pipeline.registry.servable import ServableId
from pipeline.servables import kinds
from pipeline.servables.lightgbm import LightgbmOptions
from pipeline.servables.sklearn import SklearnOptions
from pipeline.servables.xgboost import XgboostOptions
from tests.unit.servables import pages


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_sklearn_page_exports_models_that_answer_as_they_do_in_python() -> None:
    names = pages.run_python("sklearn")
    digits, buyers = pages.load_settings("sklearn")
    answer = pages.load_version(digits, "digits").predict("serving_default", {"x": names["x"][:50]})
    assert np.array_equal(answer["label"], names["model"].predict(names["x"][:50]))
    frame = names["frame"]
    cities = np.array([city.encode() for city in frame["city"]], object)
    answer = pages.load_version(buyers, "buyers").predict(
        "serving_default", {"age": frame["age"].to_numpy(), "city": cities}
    )
    assert [label.decode() for label in answer["label"]] == names["buyers"].predict(frame).tolist()


@pytest.mark.parametrize(("page", "stream"), [("xgboost", "digits"), ("lightgbm", "tumours")])
def test_the_page_of_a_boosting_exports_a_model_that_answers_as_it_does_in_python(page: str, stream: str) -> None:
    names = pages.run_python(page)
    [loaded] = pages.load_settings(page)
    x = names["x"][:50].astype(np.float32 if page == "xgboost" else np.float64)
    probabilities = pages.load_version(loaded, stream).predict("serving_default", {"x": x})["probabilities"]
    if page == "xgboost":
        assert np.array_equal(probabilities, names["model"].predict_proba(x))
    else:
        assert np.array_equal(probabilities[:, 1], names["model"].predict(x))


@pytest.mark.parametrize(
    ("page", "options"), [("sklearn", SklearnOptions), ("xgboost", XgboostOptions), ("lightgbm", LightgbmOptions)]
)
def test_every_option_is_described(page: str, options: Any) -> None:
    text, overview = (pages.PAGES / f"{page}.md").read_text(), (pages.PAGES.parent / "settings.md").read_text()
    for field in msgspec.structs.fields(options):
        assert f"| `{field.name}` |" in text
        assert f"`{field.name}`" in overview


@pytest.mark.parametrize(
    ("kind", "module"), [("sklearn", "skops.io"), ("xgboost", "xgboost"), ("lightgbm", "lightgbm")]
)
def test_a_framework_that_is_missing_is_an_error_that_names_the_extra(
    kind: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtra, match=rf"penstock-serving\[{kind}\]"):
        kinds.load_adapter(kind).loader(ServableId("m", 1), tmp_path, {}).load()
