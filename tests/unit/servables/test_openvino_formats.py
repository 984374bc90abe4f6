"""What OpenVINO reads besides IR, what it is never given to read, and other shapes for a model."""

from __future__ import annotations

import json
import os
import re

import numpy as np
import openvino as ov
import pytest
from onnx import helper

from pipeline.errors import AmbiguousKind, InvalidArtefact, LoadFailed, PathRefused
from pipeline.servables import kinds
from pipeline.servables.openvino import OpenVinoAdapter
from pipeline.servables.openvino.servable import plan
from tests.unit.servables import onnx_models, tensorflow_graphs

F32 = {"precision": "f32", "threads": 1}


@pytest.fixture(scope="session")
def adapter():
    return OpenVinoAdapter()


@pytest.fixture(scope="session")
def answers():
    return np.load(tensorflow_graphs.written() / "answers.npz")


@pytest.fixture
def ir(tmp_path):
    return onnx_models.write_ir(tmp_path / "1", onnx_models.image_onnx())


def numbers(rows):
    return np.random.default_rng(rows).normal(size=(rows, 64)).astype("f4")


def test_a_saved_model_answers_what_tensorflow_answers_where_the_kind_is_named(tmp_path, adapter, answers, load):
    path = tensorflow_graphs.copy("saved_model", tmp_path / "1")
    assert not adapter.detect(path)
    servable = load(adapter, path, **F32)
    np.testing.assert_allclose(servable.predict("", {"x": answers["x"]})["y"], answers["y"], rtol=1e-4, atol=1e-6)
    assert "read from SavedModel" in servable.description.notes


@pytest.mark.parametrize(("tensor", "key"), [("Identity:0", "y"), ("hidden", "hidden")])
def test_a_frozen_graph_is_cut_out_between_the_tensors_of_its_meta(tensor, key, tmp_path, adapter, answers, load):
    path = tensorflow_graphs.copy("frozen", tmp_path / "1")
    assert adapter.detect(path)
    (path / "graph_meta.json").write_text(json.dumps({"input_names": ["x:0"], "output_names": [tensor]}))
    outputs = load(adapter, path, **F32).predict("", {"x:0": answers["x"]})
    assert list(outputs) == [tensor]
    np.testing.assert_allclose(outputs[tensor], answers[key], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ('{"input_names": ["x:0"], "output_names": ["nope:0"]}', "no tensor 'nope:0'"),
        ('{"input_names": ["x:0"]}', "output_names"),
        ('{"input_names": [], "output_names": []}', "must both name a tensor"),
    ],
)
def test_a_meta_that_does_not_fit_the_graph_is_refused(meta, reason, tmp_path, adapter, load):
    path = tensorflow_graphs.copy("frozen", tmp_path / "1")
    (path / "graph_meta.json").write_text(meta)
    with pytest.raises(InvalidArtefact, match=reason):
        load(adapter, path)


def test_an_index_that_is_damaged_is_refused_before_openvino_reads_it(tmp_path, adapter, load):
    path = tensorflow_graphs.copy("saved_model", tmp_path / "1")
    index = path / "variables" / "variables.index"
    content = bytearray(index.read_bytes())
    content[20] ^= 1
    index.write_bytes(content)
    with pytest.raises(InvalidArtefact, match="does not have its checksum"):
        load(adapter, path)
    tensorflow_graphs.copy("saved_model", tmp_path / "2")
    os.truncate(tmp_path / "2/variables/variables.data-00000-of-00001", 100)
    with pytest.raises(InvalidArtefact, match="outside the data files"):
        load(adapter, tmp_path / "2")


def test_a_call_that_names_no_function_is_refused_before_openvino_reads_it(tmp_path, adapter, load):
    path = tensorflow_graphs.copy("saved_model", tmp_path / "1")
    content = (path / "saved_model.pb").read_bytes()
    assert b"\x0a\x01f\x12" in content
    (path / "saved_model.pb").write_bytes(content.replace(b"\x0a\x01f\x12", b"\x0a\x01g\x12"))
    with pytest.raises(InvalidArtefact, match="calls a function and does not name it"):
        load(adapter, path)


def test_onnx_answers_bit_for_bit_what_openvino_answers_and_names_its_axes(tmp_path, adapter, load):
    path = onnx_models.write_onnx(tmp_path / "1", onnx_models.image_onnx())
    servable = load(adapter, path, threads=1)
    compiled = ov.Core().compile_model(path / "model.onnx", "CPU", {"INFERENCE_NUM_THREADS": 1})
    np.testing.assert_array_equal(servable.predict("", {"x": numbers(5)})["y"], compiled(numbers(5))["y"])
    assert servable.signatures["serving_default"].inputs[0].axes == ("rows", "")


def test_external_data_are_read_from_the_version_and_refused_elsewhere(tmp_path, adapter, load):
    path = onnx_models.write_onnx(tmp_path / "1", onnx_models.image_onnx(), "weights.bin")
    load(adapter, path)
    content = (path / "model.onnx").read_bytes()
    (path / "model.onnx").write_bytes(onnx_models.relocated(content, "weights.bin", "../../etc/passwd"))
    with pytest.raises(PathRefused, match="outside the version"):
        load(adapter, path)


@pytest.mark.parametrize("file", ["model.bin", "weights.bin"])
def test_weights_that_are_shortened_in_place_do_no_harm_to_what_is_loaded(file, tmp_path, adapter, load):
    if file == "model.bin":
        path = onnx_models.write_ir(tmp_path / "1", onnx_models.image_onnx())
    else:
        path = onnx_models.write_onnx(tmp_path / "1", onnx_models.image_onnx(), file)
    servable = load(adapter, path)
    os.truncate(path / file, 0)
    assert servable.predict("", {"x": numbers(3)})["y"].shape == (3, 10)


BOMB = '<!DOCTYPE l [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]>'
FILE = '<!DOCTYPE l [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize(
    ("pattern", "replacement", "reason"),
    [
        (r"\?>", f"?>{BOMB}", "DOCTYPE"),
        (r"\?>", f"?>{FILE}", "DOCTYPE"),
        (r'type="ReLU" version="opset1"', 'type="Evil" version="extension"', "'Evil' of an extension library"),
        (r'offset="\d+" size="144"', 'offset="999999" size="144"', "the .bin has"),
        (r'offset="\d+" size="144"', 'offset="-144" size="144"', "expected a number of bytes"),
        (r'shape="4, 1, 3, 3"', 'shape="4, 1, 3, 4"', "48 elements of 32 bits in 144 bytes"),
        (r'shape="4, 1, 3, 3"', 'shape="4294967296, 4294967296, 1, 1"', "more elements than any memory holds"),
        (r'shape="\?,64"', 'shape="99999999999999999,64"', "more elements than any memory holds"),
        (r"(?s)<layers>.*</layers>", "", "no layers"),
    ],
)
def test_a_hostile_ir_is_refused_before_openvino_reads_it(pattern, replacement, reason, ir, adapter, load):
    text = (ir / "model.xml").read_text()
    changed = re.sub(pattern, replacement, text, count=1)
    assert changed != text
    (ir / "model.xml").write_text(changed)
    with pytest.raises(InvalidArtefact, match=reason):
        load(adapter, ir)


def test_files_of_two_kinds_are_ambiguous(ir):
    class SavedModels:
        kind, looks_for = "tensorflow", "saved_model.pb"

        def detect(self, path):
            return (path / "saved_model.pb").is_file()

    (ir / "saved_model.pb").write_bytes(b"")
    with pytest.raises(AmbiguousKind, match="openvino, tensorflow"):
        kinds.detect(ir, {"openvino": OpenVinoAdapter(), "tensorflow": SavedModels()})


def test_a_static_batch_answers_any_number_of_rows(ir, adapter, load):
    dynamic, static = load(adapter, ir, **F32), load(adapter, ir, batch=4, **F32)
    assert static.signatures == dynamic.signatures
    for rows in (0, 1, 4, 9):
        expected = dynamic.predict("", {"x": numbers(rows)})["y"]
        np.testing.assert_allclose(static.predict("", {"x": numbers(rows)})["y"], expected, rtol=1e-4, atol=1e-6)


def test_a_static_model_takes_any_number_of_rows_where_batch_opens_it(tmp_path, adapter, load):
    path = onnx_models.write_onnx(tmp_path / "1", onnx_models.identity_onnx(1, [2, 3]))
    assert not load(adapter, path).signatures["serving_default"].batched
    array = np.arange(15, dtype="f4").reshape(5, 3)
    for batch in (-1, 2, 4):
        servable = load(adapter, path, batch=batch)
        assert servable.signatures["serving_default"].inputs[0].shape == (-1, 3)
        np.testing.assert_array_equal(servable.predict("", {"x": array})["y"], array)


def test_shapes_are_those_of_the_options_and_others_are_refused(ir, adapter, load):
    signature = load(adapter, ir, shapes={"x": [3, 64]}).signatures["serving_default"]
    assert (signature.inputs[0].shape, signature.outputs[0].shape, signature.batched) == ((3, 64), (3, 10), False)
    with pytest.raises(LoadFailed, match="no input 'z', there are x"):
        load(adapter, ir, shapes={"z": [1]})
    with pytest.raises(LoadFailed, match="the model does not have them"):
        load(adapter, ir, shapes={"x": [1, 65]})


def test_a_batch_is_shared_out_among_the_streams_and_a_static_one_cut():
    assert plan(9, None, 2) == [5, 4]
    assert plan(3, None, 2) == [3]
    assert plan(9, None, 1) == [9]
    assert plan(9, 4, 2) == [4, 4, 1]
    assert plan(0, 4, 2) == []


def test_what_streams_compute_is_joined_in_order(ir, adapter, load):
    one, two = load(adapter, ir, **F32), load(adapter, ir, precision="f32", threads=2, streams=2)
    expected = one.predict("", {"x": numbers(9)})["y"]
    np.testing.assert_allclose(two.predict("", {"x": numbers(9)})["y"], expected, rtol=1e-4, atol=1e-6)


def test_a_compiled_model_outlives_the_worker_and_is_not_taken_for_another(tmp_path, load):
    first = onnx_models.write_ir(tmp_path / "1", onnx_models.image_onnx(seed=1))
    second = onnx_models.write_ir(tmp_path / "2", onnx_models.image_onnx(seed=2))
    cached = {"cache_dir": str(tmp_path / "cache"), **F32}
    answers = [load(OpenVinoAdapter(), path, **F32).predict("", {"x": numbers(2)})["y"] for path in (first, second)]
    for _ in range(2):
        for path, expected in zip((first, second), answers, strict=True):
            servable = load(OpenVinoAdapter(), path, **cached)
            np.testing.assert_allclose(servable.predict("", {"x": numbers(2)})["y"], expected, rtol=1e-4, atol=1e-6)
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert servable._compiled.get_property("LOADED_FROM_CACHE")


def test_a_shape_that_the_model_forbids_fails_its_request_and_not_the_worker(tmp_path, adapter, load):
    """An open axis that has to be 3: OpenVINO itself reads past the end of the weights."""
    nodes = [helper.make_node("Gemm", ["x", "w"], ["y"], transA=1)]
    model = onnx_models.onnx_model(nodes, {"x": (1, ["n", 2])}, {"y": (1, [2, 4])}, {"w": np.ones((3, 4), "f4")})
    servable = load(adapter, onnx_models.write_onnx(tmp_path / "1", model), **F32)
    for _ in range(2):
        np.testing.assert_array_equal(servable.predict("", {"x": np.ones((3, 2), "f4")})["y"], np.full((2, 4), 3))
        with pytest.raises(RuntimeError):
            servable.predict("", {"x": np.ones((2, 2), "f4")})
