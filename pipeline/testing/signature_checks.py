"""What a signature promises of tensors, checked; and tensors that keep the promise of one."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.registry.servable import Signature, TensorSpec
from pipeline.tensors import DTYPES, Array


def small_numbers(spec: TensorSpec, rows: int) -> Array:
    """Return numbers from 0 to 9 in a tensor of the spec, every axis that may have any length having one of 1."""
    shape = [rows if place == 0 and axis < 0 else max(axis, 1) for place, axis in enumerate(spec.shape)]
    numbers = np.arange(np.prod(shape, dtype=int)).reshape(shape) % 10
    if spec.datatype == "BYTES":
        return np.array([b"%d" % number for number in numbers.flat], object).reshape(shape)
    return numbers.astype(DTYPES[spec.datatype])


def check_signature(signature: Signature) -> None:
    """Fail where a signature could not be declared on the wire."""
    names = [spec.name for spec in signature.inputs], [spec.name for spec in signature.outputs]
    for side, specs in zip(names, (signature.inputs, signature.outputs), strict=True):
        assert specs, "a signature has inputs and outputs"
        assert len(set(side)) == len(side), f"a name stands twice: {side}"
        for spec in specs:
            assert spec.datatype in DTYPES, f"{spec.name} has datatype {spec.datatype!r}, expected one of {[*DTYPES]}"
            is_batch = bool(spec.shape) and spec.shape[0] == -1
            assert is_batch or not signature.batched, f"{spec.name} {spec.shape}: axis 0 of a batch is -1"


def check_outputs(signature: Signature, outputs: Mapping[str, Array], rows: int) -> None:
    """Fail where the outputs for ``rows`` rows are not those that the signature declares."""
    for spec in signature.outputs:
        assert spec.name in outputs, f"output {spec.name} is missing, got {', '.join(outputs)}"
        array = outputs[spec.name]
        assert array.dtype == DTYPES[spec.datatype], f"{spec.name} is {array.dtype}, declared as {spec.datatype}"
        expected = (rows, *spec.shape[1:]) if signature.batched else spec.shape
        fits = len(expected) == array.ndim and all(
            axis in (-1, length) for axis, length in zip(expected, array.shape, strict=True)
        )
        assert fits, f"{spec.name} has shape {array.shape}, declared as {expected}"
