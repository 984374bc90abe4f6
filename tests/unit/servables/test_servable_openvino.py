"""Real models in OpenVINO: built here, saved as IR, written as ONNX by hand."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import openvino as ov
import pytest
from onnx_bytes import relu_model
from openvino import opset13 as ops

from pipeline.errors import InvalidArtefact, InvalidSettings, MissingExtra
from pipeline.registry.servable import ServableId
from pipeline.servables.openvino import OpenVinoAdapter
from pipeline.servables.openvino.signature import DATATYPES
from pipeline.tensors import DTYPES


def save(path, outputs, inputs, file="model.xml"):
    path.mkdir(parents=True, exist_ok=True)
    ov.save_model(ov.Model(outputs, inputs, "m"), path / file, compress_to_fp16=False)
    return path


def parameter(name, shape, kind=ov.Type.f32):
    node = ops.parameter(ov.PartialShape(shape), kind)
    if name:
        node.output(0).set_names({name})
    return node


@pytest.fixture(scope="session")
def adapter():
    return OpenVinoAdapter()


@pytest.fixture(scope="session")
def mlp(tmp_path_factory):
    """64 -> 128 -> 10, the weights beside it."""
    rng = np.random.default_rng(7)
    first, second = (rng.normal(size=shape).astype("f4") for shape in ((64, 128), (128, 10)))
    x = parameter("x", [-1, 64])
    plain = {"transpose_a": False, "transpose_b": False}
    hidden = ops.relu(ops.matmul(x, ops.constant(first), **plain))
    y = ops.matmul(hidden, ops.constant(second), **plain)
    y.output(0).set_names({"y"})
    path = save(tmp_path_factory.mktemp("mlp"), [y], [x])
    return path, lambda rows: np.maximum(rows @ first, 0) @ second


@pytest.fixture
def identity(tmp_path):
    def identity(kind, shape=(-1, 2), name="x"):
        x = parameter(name, list(shape), kind)
        return save(tmp_path, [ops.result(x)], [x])

    return identity


def rows(count, columns=64, seed=0):
    return np.random.default_rng(seed).normal(size=(count, columns)).astype("f4")


def test_an_ir_model_answers_batches_of_any_size(mlp, adapter, load):
    path, expected = mlp
    servable = load(adapter, path, threads=1, precision="f32")
    for count in (1, 256, 3, 64):
        array = rows(count)
        np.testing.assert_allclose(servable.predict("", {"x": array})["y"], expected(array), rtol=1e-3, atol=1e-3)


def test_its_signature_is_that_of_the_model(mlp, adapter, load):
    signature = load(adapter, mlp[0]).signatures["serving_default"]
    assert signature.batched
    specs = [(spec.name, spec.datatype, spec.shape) for spec in (*signature.inputs, *signature.outputs)]
    assert specs == [("x", "FP32", (-1, 64)), ("y", "FP32", (-1, 10))]


def test_a_static_first_axis_is_no_batch(identity, adapter, load):
    signature = load(adapter, identity(ov.Type.f32, (1, 2))).signatures["serving_default"]
    assert not signature.batched
    assert signature.inputs[0].shape == (1, 2)


def test_an_onnx_model_is_read(tmp_path, adapter, load):
    (tmp_path / "net.onnx").write_bytes(relu_model())
    assert adapter.detect(tmp_path)
    servable = load(adapter, tmp_path)
    outputs = servable.predict("", {"x": np.array([[-1, 0, 2]], "f4")})
    np.testing.assert_array_equal(outputs["y"], [[0, 0, 2]])
    assert servable.signatures["serving_default"].batched


def test_a_result_does_not_change_when_the_next_batch_is_computed(mlp, adapter, load):
    servable = load(adapter, mlp[0])
    first = servable.predict("", {"x": rows(4)})["y"]
    before = first.copy()
    servable.predict("", {"x": rows(4, seed=1)})
    np.testing.assert_array_equal(first, before)


def test_read_only_and_strided_inputs_are_taken_and_none_is_kept(mlp, adapter, load):
    path, expected = mlp
    servable = load(adapter, path, precision="f32")
    array = rows(8)
    view = np.frombuffer(array.tobytes(), "f4").reshape(8, 64)
    np.testing.assert_allclose(servable.predict("", {"x": view})["y"], expected(array), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(servable.predict("", {"x": array[::2]})["y"], expected(array[::2]), rtol=1e-3, atol=1e-3)
    kept = sys.getrefcount(array)
    servable.predict("", {"x": array})
    assert sys.getrefcount(array) == kept


def test_concurrent_callers_each_get_their_own_rows(mlp, adapter, load):
    path, expected = mlp
    servable = load(adapter, path, precision="f32")
    together = threading.Barrier(4)

    def call(seed):
        array = rows(16, seed=seed)
        together.wait(10)
        return all(
            np.allclose(servable.predict("", {"x": array})["y"], expected(array), rtol=1e-3, atol=1e-3)
            for _ in range(50)
        )

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(call, range(4))) == [True] * 4
    assert 1 <= len(servable._idle) <= 4


@pytest.mark.parametrize("kind", sorted(set(DATATYPES) - {"string"}))
def test_every_datatype_goes_in_and_comes_out(kind, identity, adapter, load):
    servable = load(adapter, identity(getattr(ov.Type, kind)))
    spec = servable.signatures["serving_default"].inputs[0]
    assert spec.datatype == DATATYPES[kind]
    array = np.array([[0, 1], [1, 0]], DTYPES[spec.datatype])
    [result] = servable.predict("", {"x": array}).values()
    assert result.dtype == array.dtype
    np.testing.assert_array_equal(result, array)


def test_bytes_go_in_and_come_out(identity, adapter, load):
    servable = load(adapter, identity(ov.Type.string, (-1,)))
    assert servable.signatures["serving_default"].inputs[0].datatype == "BYTES"
    for values in ([b"ab", b"", b"c\0d", b"\xff\xfe", "é".encode()], [b"x"], []):
        array = np.empty(len(values), object)
        array[:] = values
        [result] = servable.predict("", {"x": array}).values()
        assert result.dtype == object
        assert result.tolist() == values


def test_tensors_without_a_name_are_numbered(tmp_path, adapter, load):
    a, b = parameter("a", [-1, 2]), parameter("b", [-1, 2])
    path = save(tmp_path, [ops.add(a, b), ops.multiply(a, b)], [a, b])
    text = (path / "model.xml").read_text()
    (path / "model.xml").write_text(re.sub(r' (output_)?names="[^"]*"', "", text))
    servable = load(adapter, path)
    ones = np.ones((1, 2), "f4")
    outputs = servable.predict("", {"input_0": ones * 2, "input_1": ones * 3})
    assert (outputs["output_0"][0, 0], outputs["output_1"][0, 0]) == (5, 6)


def test_several_inputs_and_outputs_are_matched_by_name(tmp_path, adapter, load):
    a, b = parameter("a", [-1, 2]), parameter("b", [-1, 2])
    total, product = ops.add(a, b), ops.multiply(a, b)
    total.output(0).set_names({"sum"})
    product.output(0).set_names({"product"})
    servable = load(adapter, save(tmp_path, [total, product], [a, b]))
    ones = np.ones((1, 2), "f4")
    outputs = servable.predict("", {"b": ones * 3, "a": ones * 2})
    assert (outputs["sum"][0, 0], outputs["product"][0, 0]) == (5, 6)


def test_a_batch_of_no_rows_does_no_harm(mlp, adapter, load):
    servable = load(adapter, mlp[0])
    assert servable.predict("", {"x": rows(0)})["y"].shape == (0, 10)
    assert servable.predict("", {"x": rows(2)})["y"].shape == (2, 10)


def test_a_type_that_the_protocol_lacks_is_refused(identity, adapter, load):
    with pytest.raises(InvalidArtefact, match="bf16"):
        load(adapter, identity(ov.Type.bf16))


def test_a_dynamic_number_of_axes_is_refused(tmp_path, adapter, load):
    x = ops.parameter(ov.PartialShape.dynamic(), ov.Type.f32)
    with pytest.raises(InvalidArtefact, match="dynamic number of axes"):
        load(adapter, save(tmp_path, [ops.relu(x)], [x]))


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "no model found"),
        ({"a.onnx": b"x", "b.onnx": b"x"}, "no model found"),
        ({"model.xml": b"<net/>"}, "model.bin is missing"),
        ({"model.xml": b"<net", "model.bin": b""}, "model.xml is no XML"),
        ({"model.onnx": b"\x00garbage"}, "model.onnx is no ONNX model"),
    ],
)
def test_what_is_no_model_is_refused_with_the_reason(tmp_path, adapter, load, files, reason):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidArtefact, match=reason):
        load(adapter, tmp_path)


def test_weights_that_are_cut_short_are_refused(mlp, tmp_path, adapter, load):
    for file in mlp[0].iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes()[: None if file.suffix == ".xml" else 100])
    with pytest.raises(InvalidArtefact, match=r"bytes 0 to 32768, and the \.bin has 100"):
        load(adapter, tmp_path)


def test_a_single_xml_of_any_name_is_a_model_and_model_xml_comes_first(mlp, tmp_path, adapter):
    for suffix in ("xml", "bin"):
        (tmp_path / f"net.{suffix}").write_bytes((mlp[0] / f"model.{suffix}").read_bytes())
    assert adapter.detect(tmp_path)
    (tmp_path / "other.xml").write_text("<x/>")
    assert not adapter.detect(tmp_path)
    (tmp_path / "model.onnx").write_bytes(relu_model())
    assert not adapter.detect(tmp_path)


def test_a_failed_call_leaves_the_servable_usable(mlp, adapter, load):
    servable = load(adapter, mlp[0])
    with pytest.raises(RuntimeError):
        servable.predict("", {"x": rows(2, columns=5)})
    assert servable.predict("", {"x": rows(2)})["y"].shape == (2, 10)


def test_an_estimate_is_twice_the_files_and_a_bit_more(mlp, adapter):
    size = sum(file.stat().st_size for file in mlp[0].iterdir())
    estimate = adapter.loader(ServableId("m", 1), mlp[0], {}).estimate_bytes()
    assert 2 * size < estimate < 2.5 * size


@pytest.mark.parametrize(
    "options", [{"threads": "many"}, {"performance_hint": "FAST"}, {"precision": "f8"}, {"treads": 1}]
)
def test_wrong_options_are_refused(tmp_path, adapter, options):
    with pytest.raises(InvalidSettings, match="options of m"):
        adapter.loader(ServableId("m", 1), tmp_path, options)


def test_options_reach_openvino(mlp, adapter, load):
    servable = load(adapter, mlp[0], threads=1, streams=1, performance_hint="LATENCY")
    assert servable._compiled.get_property("INFERENCE_NUM_THREADS") == 1
    assert str(servable._compiled.get_property("NUM_STREAMS")) == "1"


def test_a_missing_openvino_says_what_to_install(mlp, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtra, match=r"penstock-serving\[openvino\]"):
        OpenVinoAdapter().loader(ServableId("m", 1), mlp[0], {}).load()


def test_importing_the_adapters_imports_no_framework():
    code = (
        "import sys, pipeline.servables.openvino, pipeline.servables.lookup, pipeline.servables.python, "
        "pipeline.servables.kinds; sys.exit('openvino' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
