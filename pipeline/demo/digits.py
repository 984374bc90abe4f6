"""The 1,797 handwritten digits of scikit-learn: split, learnt twice, and written as OpenVINO IR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.errors import MissingExtra

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]

INPUT: Final = "pixels"
OUTPUT: Final = "probabilities"

_SEED: Final = 0
_TEST_SHARE: Final = 0.4
_BRIGHTEST: Final = 16.0


@dataclass(frozen=True)
class Part:
    """Images float32 [rows, 64 pixels] in 0..1; labels int64 [rows] in 0..9; ids int64 [rows]: places in the set."""

    images: Floats
    labels: Labels
    ids: Labels


@dataclass(frozen=True)
class Layer:
    """``row @ weights + bias``; weights float32 [inputs, outputs], bias float32 [outputs]."""

    weights: Floats
    bias: Floats


def split() -> tuple[Part, Part]:
    """Return the part to learn from and the part to ask about: no image is in both, every digit is in both alike.

    The same on every machine. Raises MissingExtra where scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise MissingExtra("penstock demo", f"its digits come with scikit-learn ({error})", "demo") from error
    data: Any = load_digits()
    images = (data.data / _BRIGHTEST).astype(np.float32)
    labels = data.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(labels)), test_size=_TEST_SHARE, stratify=labels, random_state=_SEED)
    return Part(images[train], labels[train], train), Part(images[test], labels[test], test)


def train_linear(part: Part) -> Any:
    """Return version 1: logistic regression, strongly regularised, as a first model is before anybody tunes it."""
    from sklearn.linear_model import LogisticRegression

    return _fit(LogisticRegression(C=0.1, max_iter=1000), part)


def train_net(part: Part) -> Any:
    """Return version 2: 64 pixels, 128 hidden units, 10 digits. Takes a second; the same on every machine."""
    from sklearn.neural_network import MLPClassifier

    return _fit(MLPClassifier((128,), alpha=1e-3, max_iter=500, random_state=_SEED), part)


def layers_of(model: Any) -> list[Layer]:
    """Return the weights that a fitted linear model or net has learnt, first layer first."""
    if hasattr(model, "coefs_"):
        pairs = zip(model.coefs_, model.intercepts_, strict=True)
    else:
        pairs = zip([model.coef_.T], [model.intercept_], strict=True)
    return [Layer(weights.astype(np.float32), bias.astype(np.float32)) for weights, bias in pairs]


def export(layers: Sequence[Layer], directory: Path) -> None:
    """Write ``model.xml`` and ``model.bin`` into a new directory: pixels [rows, 64] to probabilities [rows, 10].

    The caller renames the directory into place when it is complete, as everybody should who drops a version.
    """
    try:
        import openvino as ov
        from openvino import opset13 as ops
    except ImportError as error:
        raise MissingExtra("penstock demo", f"its models are OpenVINO's ({error})", "demo") from error
    pixels = ops.parameter([-1, layers[0].weights.shape[0]], np.float32, name=INPUT)
    pixels.output(0).set_names({INPUT})
    values: Any = pixels
    for number, layer in enumerate(layers):
        values = ops.relu(values) if number else values
        values = ops.add(ops.matmul(values, layer.weights, False, False), layer.bias)  # noqa: FBT003  # the opset's form
    values = ops.softmax(values, 1)
    values.output(0).set_names({OUTPUT})
    directory.mkdir(parents=True)
    ov.save_model(ov.Model([values], [pixels], "digits"), directory / "model.xml", compress_to_fp16=False)


def export_corrupt(directory: Path) -> None:
    """Write a version whose name is right and whose ``model.xml`` is not a model: an interrupted or mistaken upload."""
    directory.mkdir(parents=True)
    noise = np.random.default_rng(_SEED).integers(0, 256, 4096, np.uint8).tobytes()
    (directory / "model.xml").write_bytes(noise)
    (directory / "model.bin").write_bytes(noise)


def _fit(model: Any, part: Part) -> Any:
    # Comes with scikit-learn.
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # it has no types

    # So little work: on a busy machine, several threads would mostly wait for each other.
    with threadpool_limits(1):
        return model.fit(part.images.astype(np.float64), part.labels)


def save_image(part: Part, path: Path) -> None:
    """Write the first image of a part as float32 [1, 64 pixels], as `penstock predict` takes it."""
    np.save(path, part.images[:1])
