"""A servable of text: as long as it respects its mask, and raises for the number 13 wherever that counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from pipeline.records import PredictRequest
from pipeline.registry.servable import Signature, TensorSpec
from pipeline.tensors import Array, Tensor, from_array

TOKENS = ("rows", "sequence")
SIGNATURE = Signature(
    (
        TensorSpec("ids", "INT64", (-1, -1), TOKENS),
        TensorSpec("mask", "INT32", (-1, -1), TOKENS),
        TensorSpec("weight", "FP32", (-1, 2)),
    ),
    (
        TensorSpec("twice", "INT64", (-1, -1, 2), ("rows", "sequence", "")),
        TensorSpec("sum", "FP64", (-1,), ("rows",)),
    ),
)


def answer(ids: Array, mask: Array, weight: Array) -> dict[str, Array]:
    """``twice`` is 2 * ids where the mask is 1, ``sum`` that of the ids there and the weights; row by row."""
    seen = ids * (mask != 0)
    return {"twice": np.stack([seen, seen], axis=2), "sum": seen.sum(axis=1) + weight.sum(axis=1, dtype=np.float64)}


class TextServable:
    """Notes the shape of ``ids`` in each call."""

    signatures: ClassVar[Mapping[str, Signature]] = {"serving_default": SIGNATURE}

    def __init__(self, error: Exception | None = None) -> None:
        self.calls: list[tuple[int, ...]] = []
        self._error = error or RuntimeError("thirteen")

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        self.calls.append(inputs["ids"].shape)
        assert [inputs[name].dtype for name in ("ids", "mask", "weight")] == [np.int64, np.int32, np.float32]
        if ((inputs["ids"] == 13) & (inputs["mask"] != 0)).any():
            raise self._error
        return answer(**inputs)


def text(ids: object, mask: object = None, weight: object = None) -> tuple[Tensor, ...]:
    """The tensors of a request; without a mask it carries none."""
    array = np.asarray(ids, np.int64)
    weights = np.ones((len(array), 2), np.float32) if weight is None else np.asarray(weight, np.float32)
    tensors = [from_array("ids", array), from_array("weight", weights)]
    if mask is not None:
        tensors.append(from_array("mask", np.asarray(mask, np.int32)))
    return tuple(tensors)


def request(id_: str, *arrays: object) -> PredictRequest:
    return PredictRequest(id_, inputs=text(*arrays))
