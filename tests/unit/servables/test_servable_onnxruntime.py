"""Real models in ONNX Runtime, written with the onnx package."""

from __future__ import annotations

import os
import sys

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, defs, helper

from pipeline.errors import InvalidArtefact, InvalidSettings, LoadFailed, MissingExtra, ModelFailed, PathRefused
from pipeline.registry.servable import ServableId
from pipeline.servables.onnx_operators import least_inputs
from pipeline.servables.onnxruntime import DATATYPES, OnnxRuntimeAdapter
from pipeline.tensors import DTYPES
from tests.unit.servables import onnx_models

ONNX_NAMES = {"tensor(float)": "FLOAT", "tensor(double)": "DOUBLE"}


@pytest.fixture
def adapter():
    return OnnxRuntimeAdapter()


def numbers(rows, columns=64):
    return np.random.default_rng(rows).normal(size=(rows, columns)).astype("f4")


def test_it_answers_bit_for_bit_what_onnx_runtime_answers(tmp_path, adapter, load):
    path = onnx_models.write_onnx(tmp_path / "1", onnx_models.image_onnx())
    servable, session = load(adapter, path), onnxruntime.InferenceSession(path / "model.onnx")
    for rows in (1, 7, 64):
        array = numbers(rows)
        np.testing.assert_array_equal(servable.predict("", {"x": array})["y"], session.run(["y"], {"x": array})[0])


def test_the_signature_names_the_axes(tmp_path, adapter, load):
    signature = load(adapter, onnx_models.write_onnx(tmp_path / "1", onnx_models.image_onnx())).signatures[
        "serving_default"
    ]
    specs = [(spec.name, spec.datatype, spec.shape, spec.axes) for spec in (*signature.inputs, *signature.outputs)]
    assert specs == [("x", "FP32", (-1, 64), ("rows", "")), ("y", "FP32", (-1, 10), ("rows", ""))]
    assert signature.batched


@pytest.mark.parametrize("kind", sorted(set(DATATYPES) - {"tensor(string)"}))
def test_every_datatype_goes_in_and_comes_out(kind, tmp_path, adapter, load):
    element_type = getattr(TensorProto, ONNX_NAMES.get(kind, kind[7:-1].upper()))
    servable = load(adapter, onnx_models.write_onnx(tmp_path / "1", onnx_models.identity_onnx(element_type)))
    spec = servable.signatures["serving_default"].inputs[0]
    assert spec.datatype == DATATYPES[kind]
    array = np.array([[0, 1], [1, 0]], DTYPES[spec.datatype])
    result = servable.predict("", {"x": array})["y"]
    assert result.dtype == array.dtype
    np.testing.assert_array_equal(result, array)
    assert not np.shares_memory(result, array)


def test_text_goes_in_and_comes_out_and_other_bytes_fail_their_request(tmp_path, adapter, load):
    path = onnx_models.write_onnx(tmp_path / "1", onnx_models.identity_onnx(TensorProto.STRING, ["n"]))
    servable = load(adapter, path)
    for values in ([b"ab", b"", b"c\0d", b"x\0", "é".encode()], []):
        array = np.empty(len(values), object)
        array[:] = values
        assert servable.predict("", {"x": array})["y"].tolist() == values
    with pytest.raises(ModelFailed, match=r"input 'x'.*text"):
        servable.predict("", {"x": np.array([b"\xff"], object)})


def test_a_type_or_a_shape_that_no_signature_has_is_refused(tmp_path, adapter, load):
    for number, (element_type, shape, reason) in enumerate(
        [(TensorProto.BFLOAT16, ["n"], "bfloat16"), (TensorProto.FLOAT, None, "dynamic number of axes")]
    ):
        path = onnx_models.write_onnx(tmp_path / str(number), onnx_models.identity_onnx(element_type, shape))
        with pytest.raises(InvalidArtefact, match=reason):
            load(adapter, path)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../secret", "link"])
def test_external_data_outside_the_version_are_refused(location, tmp_path, adapter, load):
    path = onnx_models.write_onnx(tmp_path / "1", onnx_models.image_onnx(), "weights.bin")
    (path / "weights.bin").rename(tmp_path / "secret")
    (path / "link").symlink_to(tmp_path / "secret")
    content = onnx_models.relocated((path / "model.onnx").read_bytes(), "weights.bin", location)
    (path / "model.onnx").write_bytes(content)
    with pytest.raises(PathRefused, match="outside the version"):
        load(adapter, path)


def test_weights_that_are_shortened_in_place_do_no_harm_to_what_is_loaded(tmp_path, adapter, load):
    path = onnx_models.write_onnx(tmp_path / "1", onnx_models.image_onnx(), "weights.bin")
    servable = load(adapter, path)
    before = servable.predict("", {"x": numbers(3)})["y"]
    os.truncate(path / "weights.bin", 0)
    np.testing.assert_array_equal(servable.predict("", {"x": numbers(3)})["y"], before)


def test_an_operator_without_its_inputs_is_refused_before_it_is_read(tmp_path, adapter, load):
    nodes = [helper.make_node("Conv", ["x"], ["y"])]
    model = onnx_models.onnx_model(nodes, {"x": (1, ["n", 1])}, {"y": (1, ["n", 1])})
    with pytest.raises(InvalidArtefact, match="Conv has 1 of the 2 inputs"):
        load(adapter, onnx_models.write_onnx(tmp_path / "1", model))


def test_the_operators_need_the_inputs_that_onnx_says():
    least: dict[str, int] = {}
    for schema in defs.get_all_schemas_with_history():
        if schema.domain == "":
            least[schema.name] = min(least.get(schema.name, 99), schema.min_input)
    assert {name: least_inputs(name) for name in least} == least


@pytest.mark.parametrize(
    "options", [{"custom_ops": ["x.so"]}, {"optimization": "fast"}, {"threads": 0}, {"providers": []}]
)
def test_wrong_options_are_refused(options, tmp_path, adapter):
    with pytest.raises(InvalidSettings, match="options of m"):
        adapter.loader(ServableId("m", 1), tmp_path, options)


def test_options_reach_onnx_runtime_and_a_provider_that_is_missing_is_named(tmp_path, adapter, load):
    path = onnx_models.write_onnx(tmp_path / "1", onnx_models.image_onnx())
    servable = load(adapter, path, threads=1, inter_op_threads=2, optimization="none", arena=False)
    options = servable._session.get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads, options.enable_cpu_mem_arena) == (1, 2, False)
    assert options.graph_optimization_level == onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    assert servable.description.framework_version == onnxruntime.__version__
    with pytest.raises(LoadFailed, match="no provider Quantum"):
        load(adapter, path, providers=["Quantum"])


def test_its_files_are_left_to_openvino(tmp_path, adapter):
    assert not adapter.detect(onnx_models.write_onnx(tmp_path / "1", onnx_models.image_onnx()))


def test_a_missing_onnx_runtime_says_what_to_install(tmp_path, monkeypatch, adapter):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtra, match=r"penstock-serving\[onnxruntime\]"):
        adapter.loader(ServableId("m", 1), tmp_path, {}).load()
