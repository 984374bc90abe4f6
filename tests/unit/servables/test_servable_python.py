"""What becomes of a Python class, a good one and a bad one."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pipeline.errors import InvalidArtefact, InvalidSettings, LoadFailed, ModelFailed, NotReady, PathRefused
from pipeline.registry.servable import ServableId, Signature, TensorSpec
from pipeline.servables.python import PythonAdapter

HERE = __name__


class Doubler:
    inputs = {"x": ("FP32", [-1, 2])}  # noqa: RUF012  # what users write
    outputs = {"y": ("FP32", [-1, 2])}  # noqa: RUF012  # what users write
    unloaded = 0

    def __init__(self, factor=2):
        self.factor = np.float32(factor)
        self.path = None

    def load(self, path):
        self.path = path

    def predict(self, inputs):
        return {"y": inputs["x"] * self.factor, "extra": "ignored"}

    def unload(self):
        Doubler.unloaded += 1


class AsyncDoubler(Doubler):
    async def predict(self, inputs):
        return {"y": inputs["x"] * self.factor}


class Whole(Doubler):
    batched = False

    def predict(self, _inputs):
        return {"y": [[1, 2]]}


class TwoWays:
    signatures = {  # noqa: RUF012  # what users write
        "up": Signature((TensorSpec("x", "INT64", (-1,)),), (TensorSpec("y", "INT64", (-1,)),)),
        "down": Signature((TensorSpec("x", "INT64", (-1,)),), (TensorSpec("y", "INT64", (-1,)),)),
    }

    def predict(self, signature, inputs):
        return {"y": inputs["x"] + (1 if signature == "up" else -1)}


X = {"x": np.ones((3, 2), "f4")}


def use(name, **more):
    return {"class": f"{HERE}:{name}", **more}


def test_a_class_is_made_loaded_called_and_unloaded(tmp_path):
    loader = PythonAdapter().loader(ServableId("m", 1), tmp_path, use("Doubler", arguments={"factor": 3}))
    servable = loader.load()
    assert servable._model.path == tmp_path
    outputs = servable.predict("serving_default", X)
    assert list(outputs) == ["y"]
    np.testing.assert_array_equal(outputs["y"], X["x"] * 3)
    before = Doubler.unloaded
    loader.unload()
    assert Doubler.unloaded == before + 1


def test_the_declared_tensors_are_the_signature(tmp_path, load):
    signature = load(PythonAdapter(), tmp_path, **use("Doubler")).signatures["serving_default"]
    assert signature == Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),))
    assert not load(PythonAdapter(), tmp_path, **use("Whole")).signatures["serving_default"].batched


def test_lists_become_arrays_of_the_declared_datatype(tmp_path, load):
    assert load(PythonAdapter(), tmp_path, **use("Whole")).predict("", X)["y"].dtype == np.float32


def test_signatures_may_be_declared_as_such(tmp_path, load):
    servable = load(PythonAdapter(), tmp_path, **use("TwoWays"))
    assert [servable.predict(name, {"x": np.array([1])})["y"][0] for name in ("up", "down")] == [2, 0]


def test_an_async_predict_runs_on_one_loop_per_calling_thread(tmp_path, load):
    servable = load(PythonAdapter(), tmp_path, **use("AsyncDoubler"))
    both = threading.Barrier(2)

    def call():
        both.wait(10)
        return [servable.predict("", X)["y"].sum() for _ in range(3)]

    with ThreadPoolExecutor(2) as pool:
        results = [pool.submit(call) for _ in range(2)]
        assert [result.result() for result in results] == [[12.0] * 3] * 2
    assert len(servable._loops._runners) == 2


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        (ZeroDivisionError("oops"), "predict raised ZeroDivisionError: oops"),
        (None, "returned NoneType"),
        ({"z": 1}, "returned no y, got z"),
        ({"y": np.ones(2, "f8")}, "is FP64, declared as FP32"),
        ({"y": np.ones(2, "c8")}, "complex"),
        ({"y": ["a"]}, "could not convert"),
    ],
)
def test_whatever_predict_does_wrong_is_a_model_error_that_says_so(tmp_path, load, monkeypatch, returned, reason):
    def predict(self, inputs):
        if isinstance(returned, Exception):
            raise returned
        return returned

    monkeypatch.setattr(Doubler, "predict", predict)
    with pytest.raises(ModelFailed, match=reason):
        load(PythonAdapter(), tmp_path, **use("Doubler")).predict("", X)


def test_an_error_of_ours_passes_as_it_is(tmp_path, load, monkeypatch):
    def predict(self, inputs):
        raise NotReady("m", ("warming up",))

    monkeypatch.setattr(Doubler, "predict", predict)
    with pytest.raises(NotReady):
        load(PythonAdapter(), tmp_path, **use("Doubler")).predict("", X)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("class Bad: pass", "no method predict"),
        ("class Bad:\n    def predict(self, inputs): pass", "inputs does not declare"),
        ("class Bad:\n    inputs = {'x': ('F32', [1])}\n    outputs = {}\n    def predict(self, i): pass", "'F32'"),
        ("class Bad:\n    inputs = {}\n    outputs = {}\n    def predict(self, i): pass", "is empty"),
        ("class Bad:\n    signatures = {'a': 1}\n    def predict(self, s, i): pass", "Signature"),
        ("Bad = 3", "has no class Bad"),
    ],
)
def test_a_class_that_declares_too_little_does_not_load(tmp_path, body, reason):
    (tmp_path / "servable.py").write_text(body)
    loader = PythonAdapter().loader(ServableId("m", 1), tmp_path, {"allow_code_in_version": True, "class": "Bad"})
    with pytest.raises(LoadFailed, match=reason):
        loader.load()
    assert not any(name.startswith("_penstock_m_1") for name in sys.modules)


def test_code_in_a_version_is_refused_unless_it_is_allowed(tmp_path):
    (tmp_path / "servable.py").write_text("raise SystemExit('this must not run')")
    assert PythonAdapter().detect(tmp_path)
    with pytest.raises(PathRefused, match="allow_code_in_version"):
        PythonAdapter().loader(ServableId("m", 1), tmp_path, {})


def test_code_in_a_version_is_run_where_it_is_allowed_and_forgotten_afterwards(tmp_path):
    (tmp_path / "servable.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass\n"
        "class Servable:\n"
        "    inputs = {'x': ('FP32', [-1, 2])}\n"
        "    outputs = {'y': ('FP32', [-1, 2])}\n"
        "    def predict(self, inputs):\n"
        "        return {'y': inputs['x'] + 1}\n"
    )
    loader = PythonAdapter().loader(ServableId("m", 1), tmp_path, {"allow_code_in_version": True})
    assert loader.load().predict("", X)["y"].max() == 2
    assert any(name.startswith("_penstock_m_1") for name in sys.modules)
    loader.unload()
    assert not any(name.startswith("_penstock_m_1") for name in sys.modules)


def test_allowed_code_that_is_not_there_is_an_invalid_artefact(tmp_path):
    with pytest.raises(InvalidArtefact, match=r"servable\.py is missing"):
        PythonAdapter().loader(ServableId("m", 1), tmp_path, {"allow_code_in_version": True}).load()


def test_a_module_that_can_not_be_imported_fails_the_load_with_its_name(tmp_path):
    with pytest.raises(LoadFailed, match="no_such_module"):
        PythonAdapter().loader(ServableId("m", 1), tmp_path, {"class": "no_such_module:X"}).load()


@pytest.mark.parametrize("options", [{}, {"class": "module.Class"}, {"class": ":X"}, {"klass": "a:b"}])
def test_wrong_options_are_refused(tmp_path, options):
    with pytest.raises(InvalidSettings, match="options of m"):
        PythonAdapter().loader(ServableId("m", 1), tmp_path, options)
