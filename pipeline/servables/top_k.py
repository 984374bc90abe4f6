"""The k best of each row: from probabilities or logits to classes, scores and, where there are some, labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

import pipeline
from pipeline.errors import InvalidArtefact, WrongShape
from pipeline.records import DEFAULT_SIGNATURE
from pipeline.registry.options import Options, check_options
from pipeline.registry.servable import Description, ServableId, Signature, TensorSpec
from pipeline.registry.simple_loader import SimpleLoader
from pipeline.servables import version_file
from pipeline.tensors import DTYPES, Array

FILE: Final = "top-k.yaml"
LABELS: Final = "labels.txt"
MAX_LABELS_BYTES: Final = 64 << 20
_BYTES_PER_LABEL_BYTE: Final = 70  # an empty line is one byte in the file and an object of 33 with two pointers to it


class TopKOptions(Options, frozen=True):
    """What a version says in ``top-k.yaml``, and a stream may say in its options instead.

    ``k`` is how many of each row are wanted. With ``softmax`` the values are logits, and the scores their softmax; else
    the scores are the values. ``datatype`` is that of the values: FP16, FP32 or FP64; scores are always FP32.
    """

    k: int = 0
    softmax: bool = False
    datatype: str = "FP32"


class TopKAdapter:
    """Source adapter of ``top-k``: a version is a directory with ``top-k.yaml`` and, if it likes, ``labels.txt``."""

    kind = "top-k"
    looks_for = FILE

    def detect(self, path: Path) -> bool:
        """See SourceAdapter. As a step beside ``pipeline.yaml`` it is a part of that version."""
        return (path / FILE).is_file() and not (path / "pipeline.yaml").exists()

    def loader(self, id: ServableId, path: Path, options: Mapping[str, Any]) -> SimpleLoader:  # noqa: A002  # TF Serving's word
        """See SourceAdapter. ``options`` are fields of TopKOptions, and win over the file's."""
        check_options(id, options, TopKOptions)
        folder, file = (path.parent, path) if path.is_file() else (path, path / FILE)
        return SimpleLoader(
            lambda: _load(id, folder, file, options), lambda: _BYTES_PER_LABEL_BYTE * _size_bytes(folder / LABELS)
        )


class TopKServable:
    """Input ``values`` [rows, n]; outputs [rows, k]: ``classes`` INT64, ``scores`` FP32, ``labels`` BYTES if there are.

    Best first; of equal values the lower class comes first, NaN comes last.
    """

    description = Description("penstock", pipeline.__version__, threads=1)

    def __init__(self, id: ServableId, options: TopKOptions, labels: Array | None) -> None:  # noqa: A002  # TF Serving's word
        self._id = id
        self._options = options
        self._labels = labels
        k, n = options.k, -1 if labels is None else len(labels)
        values = TensorSpec("values", options.datatype, (-1, n), ("batch", "class"))
        outputs = [TensorSpec("classes", "INT64", (-1, k), ("batch", "k"))]
        outputs.append(TensorSpec("scores", "FP32", (-1, k), ("batch", "k")))
        if labels is not None:
            outputs.append(TensorSpec("labels", "BYTES", (-1, k), ("batch", "k")))
        self.signatures: Mapping[str, Signature] = {DEFAULT_SIGNATURE: Signature((values,), tuple(outputs))}

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:  # noqa: ARG002  # there is one
        """See Servable. Raises WrongShape for rows shorter than k. Sorts without the GIL."""
        values, k = inputs["values"], self._options.k
        if values.shape[1] < k:
            raise WrongShape(str(self._id), "values", (-1, k), values.shape)
        # A stable sort of the whole row: what argpartition leaves open among equals would differ from batch to batch.
        classes = np.argsort(-values, axis=1, kind="stable")[:, :k].astype(DTYPES["INT64"])
        scores = _softmax(values) if self._options.softmax else values
        outputs = {
            "classes": classes,
            "scores": np.take_along_axis(scores, classes, axis=1).astype(DTYPES["FP32"], copy=False),
        }
        if self._labels is not None:
            outputs["labels"] = self._labels[classes]
        return outputs


def _softmax(values: Array) -> Array:
    """Softmax of each row, in FP32 at least."""
    wide = values.astype(np.result_type(values.dtype, np.float32), copy=False)
    exponentials = np.exp(wide - wide.max(axis=1, keepdims=True))
    softmax: Array = exponentials / exponentials.sum(axis=1, keepdims=True)
    return softmax


def _load(id: ServableId, folder: Path, file: Path, options: Mapping[str, Any]) -> TopKServable:  # noqa: A002  # TF Serving's word
    what = str(id)
    tree = version_file.read_mapping(what, file) if file.is_file() else {}
    checked = version_file.convert(what, FILE, {**tree, **options}, TopKOptions)
    if checked.k < 1:
        raise InvalidArtefact(what, f"k is {checked.k}, expected 1 or more; set it in {FILE} or in the options")
    if checked.datatype not in {"FP16", "FP32", "FP64"}:
        raise InvalidArtefact(what, f"datatype is {checked.datatype!r}, expected FP16, FP32 or FP64")
    labels = _read_labels(what, folder / LABELS) if (folder / LABELS).is_file() else None
    if labels is not None and len(labels) < checked.k:
        raise InvalidArtefact(what, f"{LABELS} has {len(labels)} labels, k is {checked.k}")
    return TopKServable(id, checked, labels)


def _read_labels(what: str, file: Path) -> Array:
    """Return one label per line as an object array of bytes in UTF-8; the last line may end without a line feed."""
    if _size_bytes(file) > MAX_LABELS_BYTES:
        raise InvalidArtefact(what, f"{LABELS} has more than {MAX_LABELS_BYTES} bytes")
    content = file.read_bytes()
    try:
        content.decode()
    except UnicodeDecodeError as error:
        raise InvalidArtefact(what, f"{LABELS} is not UTF-8: {error}") from error
    lines = [line.removesuffix(b"\r") for line in content.removesuffix(b"\n").split(b"\n")]
    labels = np.empty(len(lines), object)
    labels[:] = lines
    return labels


def _size_bytes(file: Path) -> int:
    return file.stat().st_size if file.is_file() else 0
