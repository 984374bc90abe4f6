"""How a request that knows no signature is made to fit one. Pure but for images, which ``pixels_of`` reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from pipeline.description import Signature, TensorSpec
from pipeline.errors import InvalidInput
from pipeline.tensors import DTYPES, Tensor, from_array

# Makes the pixels of an image that meets an input of numbers; raises BadRequest.
PixelsOf = Callable[[TensorSpec, Tensor], Tensor]


class Fitted(NamedTuple):
    """The inputs as the signature has them, and whether each was one row without a batch axis."""

    inputs: tuple[Tensor, ...]
    is_row: bool


def fit(servable: str, signature: Signature, inputs: Sequence[Tensor], pixels_of: PixelsOf) -> Fitted:
    """Return inputs with the names, the datatypes and the batch axis that a signature wants, as far as they can have.

    Names count where one of them is the signature's; else the order does, as it does with the ancestor. Numbers are
    converted when that changes none of them. Where all inputs lack just the batch axis they get one, of length 1. What
    does not fit all the same is for others to say. Raises InvalidInput for a number that its datatype can not hold, and
    what ``pixels_of`` raises.
    """
    specs = {spec.name: spec for spec in signature.inputs}
    if len(inputs) == len(specs) and not any(tensor.name in specs for tensor in inputs):
        inputs = [msgspec.structs.replace(tensor, name=name) for tensor, name in zip(inputs, specs, strict=True)]
    fitted = [_converted(servable, specs[t.name], t, pixels_of) if t.name in specs else t for t in inputs]
    ranks = [(len(tensor.shape), len(specs[tensor.name].shape)) for tensor in fitted if tensor.name in specs]
    is_row = bool(ranks) and signature.batched and all(got + 1 == wanted for got, wanted in ranks)
    if is_row:
        fitted = [msgspec.structs.replace(tensor, shape=(1, *tensor.shape)) for tensor in fitted]
    return Fitted(tuple(fitted), is_row)


def _converted(servable: str, spec: TensorSpec, tensor: Tensor, pixels_of: PixelsOf) -> Tensor:
    if spec.datatype in (tensor.datatype, "BYTES"):
        return tensor
    if tensor.datatype == "BYTES":
        if tensor.shape:
            return tensor
        tensor = pixels_of(spec, tensor)
        if tensor.datatype == spec.datatype:
            return tensor
    array, dtype = tensor.array(), DTYPES[spec.datatype]
    with np.errstate(invalid="ignore", over="ignore"):
        converted = array.astype(dtype)
        kept = (
            converted.astype(array.dtype) == array
            if dtype.kind in "biu"
            else np.isfinite(converted) | ~np.isfinite(array)
        )
    if not kept.all():
        place = int(np.argmin(kept.ravel()))
        reason = f"element {place} is {array.ravel()[place]}, which is no {spec.datatype}"
        raise InvalidInput(servable, spec.name, 0, reason)
    return from_array(tensor.name, converted)
