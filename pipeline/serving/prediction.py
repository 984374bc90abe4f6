"""One call of a servable: from tensors that fit its signature to the tensors of each request."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pipeline.errors import ModelFailed, PenstockError
from pipeline.registry.servable import Servable, Signature, TensorSpec
from pipeline.tensors import DTYPES, Array, Tensor, from_array, split, stack


def run(
    servable: Servable,
    signature_name: str,
    names: tuple[str, ...],
    requests: Sequence[tuple[Tensor, ...]],
    counts: Sequence[int],
) -> Mapping[str, Array]:
    """Stack requests that ``batching.match`` and ``batching.rows`` have passed, and return the outputs of one call.

    ``names`` and ``counts`` are what those two returned. Without a single row the servable is not called. Blocks for as
    long as the model takes; raises whatever the servable does.
    """
    signature = servable.signatures[signature_name]
    if signature.batched and not any(counts):
        return {spec.name: _no_rows(spec) for spec in signature.outputs}
    inputs = {name: stack(column) for name, column in zip(names, zip(*requests, strict=True), strict=True)}
    return servable.predict(signature_name, inputs)


def cut(
    servable: str, signature: Signature, outputs: Mapping[str, Array], counts: Sequence[int]
) -> Iterable[tuple[Tensor, ...]]:
    """Return each request's own tensors; raises ModelFailed for outputs that can not be cut so."""
    if not outputs:
        raise ModelFailed(servable, "it returned no outputs")
    try:
        if not signature.batched:
            return [tuple([from_array(key, np.asarray(array)) for key, array in outputs.items()])]
        total = sum(counts)
        for key, array in outputs.items():
            if np.ndim(array) == 0 or len(array) != total:
                raise ModelFailed(servable, f"output {key!r} has shape {list(np.shape(array))} for {total} rows")
        return zip(*[split(key, np.asarray(array), counts) for key, array in outputs.items()], strict=True)
    except TypeError as error:
        raise ModelFailed(servable, str(error)) from error


def as_error(servable: str, error: Exception) -> PenstockError:
    """Return an error of the tree for whatever a servable raised."""
    return error if isinstance(error, PenstockError) else ModelFailed(servable, f"{type(error).__name__}: {error}")


def _no_rows(spec: TensorSpec) -> Array:
    return np.empty([0, *(max(axis, 0) for axis in spec.shape[1:])], DTYPES[spec.datatype])
