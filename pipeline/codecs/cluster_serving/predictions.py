"""Answers of the HTTP front end: JSON ``predictions``, each a text that is JSON, and so is the ``value`` in it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np

from pipeline.tensors import Array, Tensor

# How many elements are written in one go: another thread may run in between.
_AT_ONCE: Final = 4096
_encode: Final = msgspec.json.encode


def write(results: Sequence[Sequence[Tensor]]) -> bytes:
    """Return the body that answers a body of as many instances: one prediction for the outputs of each, in order.

    A ``value`` is ``{"data", "shape"}``, data being flat; of several outputs it is a list of these. Outputs are
    numbers. NaN and infinities stand there as Python writes them, and reads them.
    """
    return _encode({"predictions": [_encode({"value": _value(outputs)}).decode() for outputs in results]})


def _value(outputs: Sequence[Tensor]) -> str:
    texts = [f'{{"data":[{_numbers(tensor.array())}],"shape":{list(tensor.shape)}}}' for tensor in outputs]
    return texts[0] if len(texts) == 1 else f"[{','.join(texts)}]"


def _numbers(array: Array) -> str:
    flat = array.ravel()
    parts = [flat[start : start + _AT_ONCE] for start in range(0, flat.size, _AT_ONCE)]
    if flat.dtype.kind == "f" and not np.isfinite(flat).all():
        return ",".join(json.dumps(part.tolist())[1:-1] for part in parts)
    return ",".join(_encode(part.tolist()).decode()[1:-1] for part in parts)
