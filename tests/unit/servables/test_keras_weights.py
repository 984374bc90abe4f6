"""Large Keras files are read in pieces, and come out as Keras itself reads them."""

from __future__ import annotations

import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipeline.servables.tensorflow.keras_weights import load_model


@pytest.fixture(scope="module")
def model():
    """Nested layers, variables that no one trains, and one that more rows than pieces have."""
    keras.utils.set_random_seed(1)
    words = keras.Input((5,), dtype="int32", name="words")
    found = keras.layers.Embedding(1000, 64)(words)
    inner = keras.Sequential([keras.Input((5, 64)), keras.layers.LSTM(32), keras.layers.BatchNormalization()])
    return keras.Model(words, keras.layers.Dense(3)(inner(found)))


@pytest.fixture(scope="module")
def file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("keras-weights") / "model.keras"
    model.save(path)
    return path


def equal(one, other):
    return all(np.array_equal(mine, its) for mine, its in zip(one.get_weights(), other.get_weights(), strict=True))


@pytest.mark.parametrize("piece_bytes", [1, 1000, 10_000, 1 << 30])
def test_a_file_in_pieces_of_any_size_is_the_model_that_was_saved(piece_bytes, file, model):
    read = load_model(tf, keras, file, small_bytes=0, piece_bytes=piece_bytes)
    assert equal(read, model)
    rows = np.arange(20).reshape(4, 5) * 49
    assert np.array_equal(read(rows), model(rows))


def test_keras_does_not_read_the_weights_of_a_large_file(file, model, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("keras has read the whole file")

    monkeypatch.setattr(keras.models, "load_model", refuse)
    assert equal(load_model(tf, keras, file, small_bytes=0), model)


def test_weights_in_bfloat16_are_read(tmp_path):
    layers = [keras.Input((4,)), keras.layers.Dense(300, dtype=keras.DTypePolicy("bfloat16"))]
    saved = keras.Sequential(layers)
    saved.save(tmp_path / "model.keras")
    assert equal(load_model(tf, keras, tmp_path / "model.keras", small_bytes=0, piece_bytes=10), saved)


def test_a_compressed_file_is_left_to_keras(file, model, tmp_path):
    with zipfile.ZipFile(file) as stored, zipfile.ZipFile(tmp_path / "model.keras", "w", zipfile.ZIP_DEFLATED) as other:
        for name in stored.namelist():
            other.writestr(name, stored.read(name))
    assert equal(load_model(tf, keras, tmp_path / "model.keras", small_bytes=0), model)


def test_weights_of_another_model_are_refused(file, tmp_path):
    keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)]).save(tmp_path / "other.keras")
    with zipfile.ZipFile(file) as config, zipfile.ZipFile(tmp_path / "other.keras") as weights:
        members = {"config.json": config, "metadata.json": config, "model.weights.h5": weights}
        with zipfile.ZipFile(tmp_path / "model.keras", "w") as mixed:
            for name, source in members.items():
                mixed.writestr(name, source.read(name))
    with pytest.raises(ValueError, match="of its objects have no weights"):
        load_model(tf, keras, tmp_path / "model.keras", small_bytes=0)
