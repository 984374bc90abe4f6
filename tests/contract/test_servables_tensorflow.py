"""TensorFlow models keep the contract: a SavedModel with a variable and two signatures, and a Keras file."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from pipeline.servables.tensorflow.framework import import_tensorflow
from pipeline.testing.servable_contract import ServableContract


def save_two_signatures(path: Path) -> None:
    tensorflow = import_tensorflow("the test")

    class Two(tensorflow.Module):
        def __init__(self):
            super().__init__()
            self.weights = tensorflow.Variable(np.eye(3, 2, dtype="f4"))

        @tensorflow.function(input_signature=[tensorflow.TensorSpec([None, 3], tensorflow.float32, "x")])
        def product(self, x):
            return {"y": x @ self.weights}

        @tensorflow.function(input_signature=[tensorflow.TensorSpec([None, 2], tensorflow.string, "text")])
        def lengths(self, text):
            return {"length": tensorflow.strings.length(text), "text": text}

    two = Two()
    tensorflow.saved_model.save(two, str(path), signatures={"serving_default": two.product, "lengths": two.lengths})


class TestSavedModel(ServableContract):
    entry_point = "pipeline.servables.tensorflow:TensorFlowAdapter"
    options: ClassVar = {"intra_op_threads": 1}
    wrong_options: ClassVar = {"intra_op_threads": 0}
    frameworks: ClassVar = (*ServableContract.frameworks, "keras", "google.protobuf")
    damaged_versions: ClassVar = 200
    source: Path

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _saved(cls, tmp_path_factory):
        cls.source = tmp_path_factory.mktemp("saved") / "model"
        save_two_signatures(cls.source)

    def write_version(self, path: Path) -> None:
        import shutil

        shutil.copytree(self.source, path)

    def write_broken_version(self, path: Path) -> None:
        self.write_version(path)
        (path / "variables" / "variables.data-00000-of-00001").write_bytes(b"")


class TestKerasFile(ServableContract):
    entry_point = "pipeline.servables.tensorflow:TensorFlowAdapter"
    wrong_options: ClassVar = {"batched": "sometimes"}
    frameworks: ClassVar = (*ServableContract.frameworks, "keras", "google.protobuf")
    damaged_versions: ClassVar = 200
    source: Path

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _saved(cls, tmp_path_factory):
        keras = import_tensorflow("the test").keras
        cls.source = tmp_path_factory.mktemp("saved") / "model.keras"
        layers = [keras.Input((3,), name="x"), keras.layers.Dense(4, "relu"), keras.layers.Dense(2)]
        keras.Sequential(layers).save(cls.source)

    def write_version(self, path: Path) -> None:
        path.mkdir()
        (path / "model.keras").write_bytes(self.source.read_bytes())

    def write_broken_version(self, path: Path) -> None:
        path.mkdir()
        (path / "model.keras").write_bytes(self.source.read_bytes()[:-100])
