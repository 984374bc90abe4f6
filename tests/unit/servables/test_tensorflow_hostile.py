"""Models made to do more than compute, and files made to fill the memory: refused before anything of them is run."""

from __future__ import annotations

import io
import json
import zipfile

import numpy as np
import pytest

from pipeline.errors import InvalidArtefact
from pipeline.registry.servable import ServableId
from pipeline.servables.tensorflow import TensorFlowAdapter
from pipeline.servables.tensorflow.framework import import_tensorflow
from pipeline.servables.tensorflow.safe_ops import SAFE_OPS

tf = import_tensorflow("the tests")


@pytest.fixture
def adapter():
    return TensorFlowAdapter()


def refused(adapter, path, reason, **options):
    with pytest.raises(InvalidArtefact, match=reason) as raised:
        adapter.loader(ServableId("m", 1), path, options).load()
    return str(raised.value)


def save(path, call):
    module = tf.Module()
    module.call = tf.function(call, input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    tf.saved_model.save(module, str(path), signatures=module.call)
    return path


# -- operations -------------------------------------------------------------------------------------------------------


def test_a_model_that_writes_a_file_is_refused_and_has_written_nothing(tmp_path, adapter):
    target = tmp_path / "written"

    def call(x):
        tf.io.write_file(str(target), "gotcha")
        return {"y": x}

    text = refused(adapter, save(tmp_path / "1", call), "WriteFile")
    assert "allow_ops" in text
    assert not target.exists()


def test_a_file_written_in_a_branch_of_a_branch_is_found(tmp_path, adapter):
    def inner(x):
        with tf.control_dependencies([tf.io.write_file(str(tmp_path / "written"), "gotcha")]):
            return x + 1

    def call(x):
        return {"y": tf.cond(tf.size(x) > 3, lambda: tf.map_fn(inner, x), lambda: x)}

    refused(adapter, save(tmp_path / "1", call), "WriteFile")


def test_what_is_allowed_by_name_is_served_and_noted(tmp_path, adapter, load):
    target = tmp_path / "written"

    def call(x):
        tf.io.write_file(str(target), "asked for")
        return {"y": x}

    servable = load(adapter, save(tmp_path / "1", call), allow_ops=["WriteFile"])
    assert any("WriteFile" in note for note in servable.description.notes)
    assert not target.exists()
    servable.predict("serving_default", {"x": np.ones(1, "f4")})
    assert target.exists()


@pytest.mark.parametrize(
    ("op", "call"),
    [
        ("ReadFile", lambda x: {"y": x, "text": tf.io.read_file("/etc/hostname")}),
        ("MatchingFiles", lambda x: {"y": x, "names": tf.io.matching_files("/etc/*")}),
        ("EagerPyFunc", lambda x: {"y": tf.ensure_shape(tf.py_function(lambda y: y, [x], tf.float32), [None])}),
        ("PyFunc", lambda x: {"y": tf.ensure_shape(tf.numpy_function(lambda y: y, [x], tf.float32), [None])}),
        ("PrintV2", lambda x: (tf.print(x, output_stream="file:///tmp/penstock-printed"), {"y": x})[1]),
        ("RestoreV2", lambda x: {"y": x, "z": tf.ensure_shape(tf.raw_ops.RestoreV2(
            prefix="/tmp/other", tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32])[0], [1])}),
        ("Abort", lambda x: (tf.raw_ops.Abort(), {"y": x})[1]),
        ("FIFOQueueV2", lambda x: {"y": x, "size": tf.raw_ops.QueueSizeV2(
            handle=tf.raw_ops.FIFOQueueV2(component_types=[tf.float32]))}),
    ],
)  # fmt: skip
def test_each_way_out_of_the_model_is_refused(op, call, tmp_path, adapter):
    refused(adapter, save(tmp_path / "1", call), f"{op} \\(node")


def test_a_vocabulary_outside_the_model_is_refused(tmp_path, adapter):
    path = tmp_path / "1"
    (tmp_path / "secret").write_text("password\n")
    line = tf.lookup.TextFileIndex

    def call(x):
        rows = tf.lookup.TextFileInitializer(
            str(tmp_path / "secret"), tf.int64, line.LINE_NUMBER, tf.string, line.WHOLE_LINE
        )
        with tf.init_scope():
            module.table = tf.lookup.StaticHashTable(rows, "")
        return {"y": x, "secret": module.table.lookup(tf.cast(x, tf.int64))}

    module = tf.Module()
    module.call = tf.function(call, input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    tf.saved_model.save(module, str(path), signatures=module.call)
    _rewrite_asset(path)
    refused(adapter, path, "reads a file that the model does not name as its own")


def _rewrite_asset(path):
    """Let the table's path be a constant that no asset is fed to."""
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = path / "saved_model.pb"
    model = SavedModel.FromString(file.read_bytes())
    del model.meta_graphs[0].asset_file_def[:]
    file.write_bytes(model.SerializeToString())


def test_an_asset_can_not_lie_outside_the_model(tmp_path, adapter):
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    file = save(tmp_path / "1", lambda x: {"y": x}) / "saved_model.pb"
    model = SavedModel.FromString(file.read_bytes())
    asset = model.meta_graphs[0].asset_file_def.add(filename="../../secret")
    asset.tensor_info.name = "Const:0"
    file.write_bytes(model.SerializeToString())
    refused(adapter, file.parent, "'../../secret' does not lie in")


def test_an_operation_that_no_tensorflow_has_is_refused_like_one_that_may_do_anything(tmp_path, adapter):
    file = save(tmp_path / "1", lambda x: {"y": tf.raw_ops.Sinh(x=x)}) / "saved_model.pb"
    file.write_bytes(file.read_bytes().replace(b"\x04Sinh", b"\x04Sunk"))
    refused(adapter, file.parent, "Sunk")


def test_what_is_taken_as_safe_is_what_tensorflow_has_less_what_reaches_out():
    registered = {name for name in dir(tf.raw_ops) if not name.startswith("_")}
    assert registered >= SAFE_OPS
    words = ("File", "PyFunc", "Save", "Restore", "Dataset", "Queue", "Reader", "Summary", "Session", "Print", "Send")
    assert not [name for name in SAFE_OPS if any(word in name for word in words) or name.startswith("Debug")]


# -- Keras files ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """The members of a good Keras file, by name."""
    path = tmp_path_factory.mktemp("keras") / "model.keras"
    tf.keras.Sequential([tf.keras.Input((2,), name="x"), tf.keras.layers.Dense(2, name="dense")]).save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def write(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_a_bomb_is_refused_before_it_goes_off(members, tmp_path, adapter):
    bomb = {**members, "model.weights.h5": bytes(64 << 20)}
    path = write(tmp_path / "model.keras", bomb, zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 1 << 20
    refused(adapter, path, "expands to .* bytes, the limit is")


def test_a_member_that_does_not_fit_its_check_sum_is_refused(members, tmp_path, adapter):
    path = write(tmp_path / "model.keras", members)
    content = bytearray(path.read_bytes())
    content[content.index(members["model.weights.h5"]) + 3000] ^= 1
    path.write_bytes(content)
    refused(adapter, path, "Bad CRC-32 for file 'model.weights.h5'")


def change(members, **changes):
    config = json.loads(members["config.json"])
    config["config"]["layers"][1].update(changes)
    return {**members, "config.json": json.dumps(config).encode()}


@pytest.mark.parametrize(
    "changes",
    [
        {"module": "os", "class_name": "system"},
        {"module": "keras.utils", "class_name": "get_file"},
        {"module": "keras.src.saving.saving_lib", "class_name": "load_model"},
        {"module": "keras.layers", "class_name": "Lambda"},
        {"module": "keras.layers", "class_name": "TFSMLayer"},
    ],
)
def test_a_class_that_does_more_than_compute_is_refused(changes, members, tmp_path, adapter):
    path = write(tmp_path / "model.keras", change(members, **changes))
    refused(adapter, path, f"needs {changes['module']}.{changes['class_name']}")


def test_a_lambda_that_keras_itself_has_saved_is_refused(tmp_path, adapter):
    layers = [tf.keras.Input((2,)), tf.keras.layers.Lambda(lambda x: x + 1)]
    tf.keras.Sequential(layers).save(tmp_path / "model.keras")
    refused(adapter, tmp_path, "Lambda, which is no layer that only computes; export the model as a SavedModel")


def test_a_model_with_a_table_is_refused_with_the_way_that_works(tmp_path, adapter, load):
    words = tf.keras.Input((1,), dtype="string", name="word")
    model = tf.keras.Model(words, tf.keras.layers.StringLookup(vocabulary=["red", "green"])(words))
    model.save(tmp_path / "model.keras")
    refused(adapter, tmp_path / "model.keras", r"model\.export\(DIRECTORY\)")
    model.export(tmp_path / "1", verbose=False)
    sent = np.array([[b"green"], [b"blue"]], object)
    assert load(adapter, tmp_path / "1").predict("serving_default", {"word": sent})["output_0"].tolist() == [[2], [0]]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", io.BytesIO().getvalue() + b"no zip" * 50])
def test_what_is_no_archive_is_refused(content, tmp_path, adapter):
    (tmp_path / "model.keras").write_bytes(content)
    refused(adapter, tmp_path, "is no Keras file, or is damaged")


def test_a_file_without_a_configuration_is_refused(members, tmp_path, adapter):
    rest = {name: content for name, content in members.items() if name != "config.json"}
    refused(adapter, write(tmp_path / "model.keras", rest), "config.json")
