"""Which classes of a row are its best, in which order, and what they are called."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import InvalidArtefact, InvalidSettings, WrongShape
from pipeline.registry.servable import ServableId
from pipeline.servables.top_k import TopKAdapter


def values(*rows, dtype=np.float32):
    return {"values": np.array(rows, dtype)}


def test_the_best_come_first_and_of_equals_the_lower_class(tmp_path, load):
    outputs = load(TopKAdapter(), tmp_path, k=3).predict("", values([0.1, 0.5, 0.4, 0.5], [1, 1, 1, 1]))
    assert outputs["classes"].tolist() == [[1, 3, 2], [0, 1, 2]]
    assert outputs["scores"].tolist() == np.float32([[0.5, 0.5, 0.4], [1, 1, 1]]).tolist()
    assert {name: array.dtype for name, array in outputs.items()} == {"classes": np.int64, "scores": np.float32}


def test_it_is_numpys_order_for_rows_of_any_numbers(tmp_path, load):
    rows = np.random.default_rng(0).normal(size=(50, 1000)).astype(np.float32)
    outputs = load(TopKAdapter(), tmp_path, k=5).predict("", {"values": rows})
    np.testing.assert_array_equal(outputs["scores"], np.sort(rows, axis=1)[:, :-6:-1])
    np.testing.assert_array_equal(np.take_along_axis(rows, outputs["classes"], axis=1), outputs["scores"])


def test_nan_comes_last_and_infinity_where_it_belongs(tmp_path, load):
    outputs = load(TopKAdapter(), tmp_path, k=4).predict("", values([np.nan, -np.inf, np.inf, 0]))
    assert outputs["classes"].tolist() == [[2, 3, 1, 0]]


@pytest.mark.parametrize("datatype", ["FP16", "FP32", "FP64"])
def test_softmax_makes_probabilities_of_logits_of_any_size(tmp_path, load, datatype):
    servable = load(TopKAdapter(), tmp_path, k=2, softmax=True, datatype=datatype)
    dtype = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}[datatype]
    outputs = servable.predict("", values([0, np.log(3.0)], [60000, 60000], dtype=dtype))
    assert outputs["scores"].dtype == np.float32
    np.testing.assert_allclose(outputs["scores"], [[0.75, 0.25], [0.5, 0.5]], rtol=1e-3)
    [signature] = servable.signatures.values()
    assert signature.inputs[0].datatype == datatype


@pytest.mark.parametrize("content", ["cat\nhot dog\n\nÄffchen\n", "cat\r\nhot dog\r\n\r\nÄffchen"])
def test_labels_are_the_lines_of_their_file(tmp_path, load, content):
    (tmp_path / "labels.txt").write_bytes(content.encode())
    servable = load(TopKAdapter(), tmp_path, k=4)
    labels = servable.predict("", values([2, 4, 1, 3]))["labels"]
    assert labels.tolist() == [[b"hot dog", "Äffchen".encode(), b"cat", b""]]
    assert servable.signatures["serving_default"].inputs[0].shape == (-1, 4)


def test_a_row_shorter_than_k_is_a_wrong_shape(tmp_path, load):
    with pytest.raises(WrongShape, match=r"shape \[1, 2\], expected \[-1, 3\]"):
        load(TopKAdapter(), tmp_path, k=3).predict("", values([1, 2]))


def test_what_the_version_says_holds_until_the_stream_says_otherwise(tmp_path, load):
    (tmp_path / "top-k.yaml").write_text("k: 1\nsoftmax: true\n")
    assert TopKAdapter().detect(tmp_path)
    assert load(TopKAdapter(), tmp_path).predict("", values([1, 1]))["scores"].tolist() == [[0.5]]
    assert load(TopKAdapter(), tmp_path, softmax=False).predict("", values([1, 1]))["scores"].tolist() == [[1.0]]


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({}, "k is 0, expected 1 or more; set it in top-k.yaml"),
        ({"top-k.yaml": b"k: 2\ndatatype: INT8"}, "datatype is 'INT8'"),
        ({"top-k.yaml": b"k: two"}, "top-k.yaml: Expected `int`"),
        ({"top-k.yaml": b"k: 2\nkk: 3"}, "unknown field `kk`"),
        ({"top-k.yaml": b"k: 2", "labels.txt": b"one\n"}, "labels.txt has 1 labels, k is 2"),
        ({"top-k.yaml": b"k: 1", "labels.txt": b"\xff\n"}, "labels.txt is not UTF-8"),
    ],
)
def test_what_is_no_top_k_is_refused_with_the_reason(tmp_path, files, reason):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidArtefact, match=reason):
        TopKAdapter().loader(ServableId("m", 1), tmp_path, {}).load()


def test_wrong_options_are_refused_before_anything_is_read(tmp_path):
    with pytest.raises(InvalidSettings, match="options of m"):
        TopKAdapter().loader(ServableId("m", 1), tmp_path / "missing", {"k": "all"})
