"""Real models in TensorFlow: made and trained here, saved by TensorFlow and by Keras."""

from __future__ import annotations

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pipeline.errors import InvalidArtefact, InvalidSettings, LoadFailed, MissingExtra
from pipeline.registry.servable import ServableId
from pipeline.servables.tensorflow import TensorFlowAdapter, files
from pipeline.servables.tensorflow.framework import import_tensorflow
from pipeline.tensors import DTYPES
from pipeline.testing.signature_checks import small_numbers
from tests.unit.servables.resident import resident_bytes

tf = import_tensorflow("the tests")


@pytest.fixture(scope="session")
def adapter():
    return TensorFlowAdapter()


def save(path, functions, **attributes):
    """Save functions as the signatures of a module that has the attributes, and return the path."""
    module = tf.Module()
    for name, value in attributes.items():
        setattr(module, name, value)
    module.functions = list(functions.values())
    tf.saved_model.save(module, str(path), signatures=functions)
    return path


def function(call, *specs):
    return tf.function(call, input_signature=[tf.TensorSpec(*spec) for spec in specs])


@pytest.fixture(scope="session")
def digits_model():
    """A small network trained on the digits, and some of them."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    images = (images / 16).astype("f4")
    tf.keras.utils.set_random_seed(1)
    layers = [tf.keras.Input((64,), name="image"), tf.keras.layers.Dense(32, "relu")]
    model = tf.keras.Sequential([*layers, tf.keras.layers.BatchNormalization(), tf.keras.layers.Dense(10)])
    model.compile("adam", tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    model.fit(images, labels, epochs=8, batch_size=64, verbose=0)
    assert model.evaluate(images, labels, verbose=0)[1] > 0.9
    return model, images


@pytest.fixture(scope="session")
def digits(digits_model, tmp_path_factory):
    """The trained network exported by Keras."""
    path = tmp_path_factory.mktemp("digits") / "1"
    digits_model[0].export(path, verbose=False)
    return path


@pytest.fixture(scope="session")
def digits_saved(digits_model, tmp_path_factory):
    """The trained network saved by TensorFlow, which writes each of Keras' variables twice; two signatures share it."""
    model = digits_model[0]
    spec = ([None, 64], tf.float32, "image")
    functions = {
        "serving_default": function(lambda image: {"logits": model(image, training=False)}, spec),
        "digit": function(lambda image: {"digit": tf.argmax(model(image, training=False), 1)}, spec),
    }
    return save(tmp_path_factory.mktemp("digits-saved") / "1", functions, model=model)


@pytest.fixture(scope="session")
def digits_file(digits_model, tmp_path_factory):
    path = tmp_path_factory.mktemp("digits-file") / "model.keras"
    digits_model[0].save(path)
    return path


# -- answers ----------------------------------------------------------------------------------------------------------


def test_a_saved_model_answers_bit_for_bit_what_tensorflow_answers(digits, digits_model, adapter, load):
    bare = tf.saved_model.load(str(digits)).signatures["serving_default"]
    servable = load(adapter, digits)
    for rows in (1, 7, 64):
        images = digits_model[1][:rows]
        expected = bare(image=tf.constant(images))["output_0"].numpy()
        assert np.array_equal(servable.predict("serving_default", {"image": images})["output_0"], expected)


def test_a_keras_model_that_tensorflow_saved_answers_what_tensorflow_answers(digits_saved, digits_model, adapter, load):
    bare = tf.saved_model.load(str(digits_saved)).signatures
    servable = load(adapter, digits_saved)
    images = digits_model[1][:64]
    for signature, output in (("serving_default", "logits"), ("digit", "digit")):
        expected = bare[signature](image=tf.constant(images))[output].numpy()
        assert np.array_equal(servable.predict(signature, {"image": images})[output], expected)


def test_a_variable_that_a_signature_changes_is_one_for_all_signatures(tmp_path, adapter, load):
    count = tf.keras.Variable(3.0, name="count")
    functions = {
        "add": function(lambda x: {"count": count.value.assign_add(x)}, ([], tf.float32, "x")),
        "read": function(lambda x: {"count": count.value + x}, ([], tf.float32, "x")),
    }
    servable = load(adapter, save(tmp_path / "1", functions, count=count))
    assert servable.predict("read", {"x": np.float32(0)})["count"] == 3
    servable.predict("add", {"x": np.float32(2)})
    assert servable.predict("read", {"x": np.float32(0)})["count"] == 5


def test_a_keras_file_answers_bit_for_bit_what_keras_answers(digits_file, digits_model, adapter, load):
    bare = tf.keras.models.load_model(digits_file, compile=False)
    call = tf.function(lambda images: bare(images, training=False))
    servable = load(adapter, digits_file.parent)
    for rows in (1, 7, 64):
        images = digits_model[1][:rows]
        got = servable.predict("serving_default", {"image": images})["output_0"]
        assert np.array_equal(got, call(tf.constant(images)).numpy())


def test_a_keras_file_and_its_export_have_one_signature(digits, digits_file, adapter, load):
    exported, file = load(adapter, digits), load(adapter, digits_file)
    assert file.signatures == {"serving_default": exported.signatures["serving_default"]}
    (spec,) = file.signatures["serving_default"].inputs
    assert (spec.name, spec.datatype, spec.shape) == ("image", "FP32", (-1, 64))
    assert file.signatures["serving_default"].batched


@pytest.mark.parametrize("name", ["anything.keras", "1.keras"])
def test_a_keras_file_may_have_any_name(name, digits_file, tmp_path, adapter, load):
    shutil.copy(digits_file, tmp_path / name)
    assert adapter.detect(tmp_path)
    assert adapter.detect(tmp_path / name)
    load(adapter, tmp_path)
    load(adapter, tmp_path / name)


def test_inputs_and_outputs_of_a_keras_file_may_be_dicts(tmp_path, adapter, load):
    one, two = (tf.keras.Input((2,), name=name) for name in ("one", "two"))
    outputs = {"sum": tf.keras.layers.Add()([one, two]), "one": one}
    tf.keras.Model({"one": one, "two": two}, outputs).save(tmp_path / "model.keras")
    servable = load(adapter, tmp_path)
    inputs = {"two": np.full((3, 2), 2, "f4"), "one": np.ones((3, 2), "f4")}
    got = servable.predict("serving_default", inputs)
    assert np.array_equal(got["sum"], np.full((3, 2), 3, "f4"))
    assert np.array_equal(got["one"], inputs["one"])


def test_every_datatype_comes_back_as_it_went(tmp_path, adapter, load):
    types = {name: tf.as_dtype(dtype if name != "BYTES" else "string") for name, dtype in DTYPES.items()}
    functions = {}
    for name, dtype in types.items():
        functions[name] = function(lambda x: {"y": tf.reverse(tf.identity(x), [1])}, ([None, 3], dtype, "x"))
    servable = load(adapter, save(tmp_path / "1", functions))
    assert set(servable.signatures) == set(DTYPES)
    for name, signature in servable.signatures.items():
        (spec,) = signature.inputs
        assert (spec.datatype, signature.outputs[0].datatype) == (name, name)
        sent = small_numbers(spec, 5)
        got = servable.predict(name, {"x": sent})["y"]
        assert got.dtype == DTYPES[name]
        assert np.array_equal(got, sent[:, ::-1])


def test_bytes_are_neither_cut_nor_decoded(tmp_path, adapter, load):
    servable = load(
        adapter,
        save(tmp_path / "1", {"serving_default": function(lambda x: {"y": x + b"!"}, ([None], tf.string, "x"))}),
    )
    sent = np.array([b"", b"\xff\x00", b"a\x00"], object)
    got = servable.predict("serving_default", {"x": sent})["y"]
    assert [*got] == [b"!", b"\xff\x00!", b"a\x00!"]
    assert servable.predict("serving_default", {"x": sent[:0]})["y"].shape == (0,)


def test_a_vocabulary_and_a_table_are_served_from_wherever_the_version_lies(tmp_path, adapter, load):
    (tmp_path / "words.txt").write_text("red\ngreen\n")
    asset = tf.saved_model.Asset(str(tmp_path / "words.txt"))
    line = tf.lookup.TextFileIndex
    rows = tf.lookup.TextFileInitializer(asset, tf.string, line.WHOLE_LINE, tf.int64, line.LINE_NUMBER)
    table = tf.lookup.StaticHashTable(rows, -1)
    spec = ([None], tf.string, "word")
    path = save(tmp_path / "1", {"serving_default": function(lambda word: {"id": table.lookup(word)}, spec)}, t=table)
    (tmp_path / "words.txt").unlink()
    servable = load(adapter, path.rename(tmp_path / "2"))
    words = np.array([b"green", b"blue", b"red"], object)
    assert [*servable.predict("serving_default", {"word": words})["id"]] == [1, -1, 0]


def test_what_is_answered_does_not_change_the_model_nor_the_request(tmp_path, adapter, load):
    weights = tf.Variable([1.0, 2.0])
    functions = {"serving_default": function(lambda x: {"w": weights.read_value(), "x": x}, ([None], tf.float32, "x"))}
    servable = load(adapter, save(tmp_path / "1", functions, w=weights))
    sent = np.zeros(64, "f4")
    first = servable.predict("serving_default", {"x": sent})
    first["w"][:] = first["x"][:] = 9
    assert [*servable.predict("serving_default", {"x": sent})["w"]] == [1, 2]
    assert not sent.any()


def test_what_the_model_raises_is_raised_and_it_goes_on(tmp_path, adapter, load):
    functions = {"serving_default": function(lambda x: {"y": tf.gather([1.0, 2.0], x)}, ([None], tf.int32, "x"))}
    servable = load(adapter, save(tmp_path / "1", functions))
    with pytest.raises(tf.errors.InvalidArgumentError, match="not in"):
        servable.predict("serving_default", {"x": np.array([5], "i4")})
    assert [*servable.predict("serving_default", {"x": np.array([1], "i4")})["y"]] == [2]


# -- signatures -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def mixed(tmp_path_factory):
    """A model with signatures of every sort, some of which the protocol has no words for."""
    anything = tf.TensorShape(None)
    functions = {
        "rows": function(lambda x: {"y": x * 2}, ([None, 2], tf.float32, "x")),
        "total": function(lambda x: {"y": tf.reduce_sum(x)}, ([None, 2], tf.float32, "x")),
        "unknown": function(lambda x: {"y": x}, (anything, tf.float32, "x")),
        "complex": function(lambda x: {"y": tf.cast(x, tf.complex64)}, ([None], tf.float32, "x")),
        "bfloat": function(lambda x: {"y": x}, ([None], tf.bfloat16, "brain")),
    }
    return save(tmp_path_factory.mktemp("mixed") / "1", functions)


def test_a_signature_is_batched_where_axis_0_is_unknown_in_all_its_tensors(mixed, adapter, load):
    servable = load(adapter, mixed, signatures=["rows", "total"])
    assert {name: one.batched for name, one in servable.signatures.items()} == {"rows": True, "total": False}
    assert servable.predict("total", {"x": np.ones((3, 2), "f4")})["y"] == 6


@pytest.mark.parametrize("batched", [False, {"rows": False}])
def test_a_signature_can_be_declared_to_have_no_batch_axis(batched, mixed, adapter, load):
    servable = load(adapter, mixed, signatures=["rows"], batched=batched)
    assert not servable.signatures["rows"].batched
    assert servable.predict("rows", {"x": np.ones((3, 2), "f4")})["y"].shape == (3, 2)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "DT_BFLOAT16"),
        ({"signatures": ["unknown"]}, "signature 'unknown': input 'x' has an unknown number of axes"),
        ({"signatures": ["complex"]}, "signature 'complex': output 'y' has type DT_COMPLEX64"),
        ({"signatures": ["rows", "nope"]}, "no signature 'nope'; it has: bfloat, complex, rows, total, unknown"),
        ({"signatures": ["total"], "batched": True}, "batched is true, .* y \\[\\]"),
        ({"signatures": ["rows"], "batched": {"nope": True}}, "batched names nope"),
        ({"tags": ["serve", "gpu"]}, "0 graphs tagged serve,gpu, expected one; it has: serve"),
    ],
)
def test_what_the_protocol_has_no_words_for_is_refused_by_name(options, reason, mixed, adapter):
    with pytest.raises(InvalidArtefact, match=reason):
        adapter.loader(ServableId("m", 1), mixed, options).load()


@pytest.mark.parametrize("options", [{"inter_op_threads": 0}, {"tags": 3}, {"allow": ["ReadFile"]}])
def test_wrong_options_are_refused(options, adapter, mixed):
    with pytest.raises(InvalidSettings, match="options of m"):
        adapter.loader(ServableId("m", 1), mixed, options)


def test_a_graph_of_tensorflow_1_with_tags_of_its_own_is_served(tmp_path, adapter, load):
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None, 2], "x")
        y = x * v1.get_variable("w", [2], initializer=v1.constant_initializer(3.0), use_resource=False)
        session.run(v1.global_variables_initializer())
        v1.saved_model.simple_save(session, str(tmp_path / "1"), {"x": x}, {"y": y})
    servable = load(adapter, tmp_path / "1", tags=["serve"])
    assert servable.predict("serving_default", {"x": np.ones((1, 2), "f4")})["y"].tolist() == [[3, 3]]


# -- threads, memory, the process ------------------------------------------------------------------------------------


def test_the_description_names_tensorflow_and_its_threads(digits, load):
    adapter = TensorFlowAdapter()
    first = load(adapter, digits, intra_op_threads=2, inter_op_threads=1).description
    assert (first.framework, first.framework_version, first.threads) == ("tensorflow", tf.__version__, 2)
    assert first.notes == ()
    second = load(adapter, digits, intra_op_threads=3).description
    assert second.threads == 2
    assert "intra_op_threads has no effect" in second.notes[0]


def test_many_threads_are_answered_by_one_session(digits, digits_model, adapter, load):
    servable = load(adapter, digits, inter_op_threads=2)
    images = digits_model[1]
    with ThreadPoolExecutor(8) as pool:
        got = pool.map(
            lambda n: servable.predict("serving_default", {"image": images[n : n + 1]})["output_0"], range(64)
        )
        together = servable.predict("serving_default", {"image": images[:64]})["output_0"]
        np.testing.assert_allclose(np.concatenate([*got]), together, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("which", "before", "after"), [("digits_saved", 1, 1), ("digits_file", 2, 1)])
def test_a_loaded_version_is_estimated_by_its_weights_once(which, before, after, request, adapter):
    """A Keras file needs them twice, but only while it is loaded."""
    path = request.getfixturevalue(which)
    loader = adapter.loader(ServableId("m", 1), path, {})
    size = files.size_bytes(files.find(path))
    more = size // 5 + (8 << 20)
    assert loader.estimate_bytes() == pytest.approx(before * size + more, abs=2)
    loader.load()
    assert loader.estimate_bytes() == pytest.approx(after * size + more, abs=2)
    loader.unload()


@pytest.mark.slow
@pytest.mark.parametrize("which", ["digits", "digits_saved", "digits_file"])
def test_swaps_leave_no_memory_behind(which, request, adapter):
    path = request.getfixturevalue(which)

    def swap():
        loader = adapter.loader(ServableId("m", 1), path, {})
        loader.load().predict("serving_default", {"image": np.zeros((1, 64), "f4")})
        loader.unload()

    for _ in range(5):
        swap()
    after_five = resident_bytes()
    for _ in range(25):
        swap()
    assert resident_bytes() < 1.05 * after_five


def test_the_first_load_is_quiet_and_leaves_standard_error_as_it_was(digits):
    code = (
        "import os, sys; from pathlib import Path; from pipeline.registry.servable import ServableId\n"
        "from pipeline.servables.tensorflow import TensorFlowAdapter\n"
        f"TensorFlowAdapter().loader(ServableId('m', 1), Path({str(digits)!r}), {{}}).load()\n"
        "os.write(2, b'I1234 ours\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    lines = done.stderr.splitlines()
    assert lines[-1] == "I1234 ours"
    assert not [line for line in lines[:-1] if not line.startswith("E")], done.stderr


def test_a_missing_tensorflow_says_what_to_install(digits, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(MissingExtra, match=r"penstock-serving\[tensorflow\]"):
        TensorFlowAdapter().loader(ServableId("m", 1), digits, {}).load()


# -- damage -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("variables/variables.index", "variables.index is missing"),
        ("variables/variables.data-00000-of-00001", "can not restore the variables"),
    ],
)
def test_a_missing_part_of_the_checkpoint_is_named(file, reason, digits, tmp_path, adapter):
    shutil.copytree(digits, tmp_path / "1")
    (tmp_path / "1" / file).unlink()
    with pytest.raises(LoadFailed, match=reason):
        adapter.loader(ServableId("m", 1), tmp_path / "1", {}).load()


def test_a_flipped_bit_of_a_weight_is_found(digits, tmp_path, adapter):
    shutil.copytree(digits, tmp_path / "1")
    file = tmp_path / "1" / "variables" / "variables.data-00000-of-00001"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(InvalidArtefact, match="can not restore the variables"):
        adapter.loader(ServableId("m", 1), tmp_path / "1", {}).load()


def test_a_variable_that_nothing_restores_fails_the_load_by_name(tmp_path, adapter):
    path, v1 = tmp_path / "1", tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        x = v1.placeholder(tf.float32, [None], "x")
        kept, lost = (v1.get_variable(name, [], use_resource=True) for name in ("kept", "lost"))
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(path))
        signature = v1.saved_model.predict_signature_def({"x": x}, {"y": x * kept * lost})
        builder.add_meta_graph_and_variables(
            session, ["serve"], {"serving_default": signature}, saver=v1.train.Saver([kept])
        )
        builder.save()
    with pytest.raises(InvalidArtefact, match="gives the variable lost its value"):
        adapter.loader(ServableId("m", 1), path, {}).load()
