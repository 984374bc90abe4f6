"""What ``postProcessing`` of a job made of its outputs: here as arrays, which their clients can read. Pure."""

from __future__ import annotations

import numpy as np

from pipeline.errors import NotRepresentable
from pipeline.settings.cluster_serving import POST_PROCESSING
from pipeline.tensors import Array


def process(how: str, name: str, array: Array) -> Array:
    """Return an output as ``how`` says: as it is, or by ``topN(n)`` or ``pickTopN(n)``.

    ``topN``: [n, 2], the places of the n largest elements of one row and the elements, the largest first; of an output
    [rows, ...] with several rows [rows, n, 2]. Of equal elements the first comes first, NaN comes last. ``pickTopN``:
    the first n rows. Fewer where there are fewer. Raises NotRepresentable for what has no order, such as text.
    """
    found = POST_PROCESSING.fullmatch(how)
    if found is None:
        return array
    if array.dtype.kind not in "biuf":
        raise NotRepresentable(f"output {name!r} is text, which {how} can not order")
    n = int(found[2])
    if found[1] == "pickTopN":
        return array[:n] if array.ndim else array
    rows = array.reshape(1, -1) if array.ndim < 2 else array.reshape(len(array), -1)
    values = rows.astype(np.float64)
    order = np.argsort(-values, axis=1, kind="stable")[:, :n]
    pairs = np.stack([order.astype(np.float64), np.take_along_axis(values, order, axis=1)], axis=2)
    return pairs[0] if len(pairs) == 1 else pairs
