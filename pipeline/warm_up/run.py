"""Has a servable answer its warm-up and golden requests, one after the other, as it will answer real ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.errors import (
    GoldenMismatch,
    LoadFailed,
    NoInputs,
    PenstockError,
    UnknownSignature,
    WarmUpFailed,
)
from pipeline.records import DEFAULT_SIGNATURE, PredictRequest, WarmUp
from pipeline.registry.servable import Servable, ServableId
from pipeline.serving import batching, prediction
from pipeline.tensors import Tensor, from_array
from pipeline.warm_up.comparison import Difference, compare

MAX_CALL_BYTES: Final = 1 << 30


class _CanNotRepeat(Exception):
    """The rows of a record can not make up a batch of another size."""


@dataclass(frozen=True)
class Verdict:
    """What became of one record: how many ``calls`` went well, and the ``error`` of the first that did not."""

    record: int
    description: str
    is_golden: bool
    calls: int
    error: LoadFailed | None


def run(id_: ServableId, servable: Servable, records: Sequence[WarmUp]) -> Iterator[Verdict]:
    """Yield the verdict of each record, in order, each computed when it is asked for.

    On the calling thread, for as long as the model takes. The inputs pass the checks of real requests. A record ends at
    its first error: GoldenMismatch, or WarmUpFailed for a request that the signature refuses or the servable fails.
    """
    for position, record in enumerate(records):
        calls, error = 0, None
        try:
            for _ in _answers(id_, servable, position, record):
                calls += 1
        except LoadFailed as failure:
            error = failure
        yield Verdict(position, record.description, record.expected is not None, calls, error)


def predict(id_: ServableId, servable: Servable, signature: str, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Answer one request as the dispatcher would; raises BadRequest, ModelFailed, or another error of the tree."""
    name, key = str(id_), batching.key_of(PredictRequest("", signature=signature, inputs=inputs), id_.name)
    if not inputs:
        raise NoInputs
    found = servable.signatures.get(key.signature)
    if found is None:
        raise UnknownSignature(name, key.signature, tuple(servable.signatures))
    names = batching.match(name, found, key.layout)
    counts = [batching.rows(name, found, names, inputs)]
    try:
        outputs = prediction.run(servable, key.signature, names, [inputs], counts)
    except Exception as error:
        raise prediction.as_error(name, error) from error
    [tensors] = prediction.cut(name, found, outputs, counts)
    return tensors


def _answers(id_: ServableId, servable: Servable, position: int, record: WarmUp) -> Iterator[None]:
    """Make the calls of one record, and yield after each that went well."""
    try:
        for rows, inputs, expected in _sizes(servable, record):
            for _ in range(record.iterations):
                got = predict(id_, servable, record.signature, inputs)
                if expected is not None:
                    _check(id_, position, record, rows, compare(got, expected, record.rtol, record.atol))
                yield
    except GoldenMismatch:
        raise
    except PenstockError as error:
        raise WarmUpFailed(str(id_), f"{error.code}: {error}", position, record.description) from error
    except _CanNotRepeat as error:
        raise WarmUpFailed(str(id_), f"batch_sizes: {error}", position, record.description) from error


def _check(id_: ServableId, position: int, record: WarmUp, rows: int, difference: Difference | None) -> None:
    if difference is not None:
        raise GoldenMismatch(str(id_), record=position, description=record.description, rows=rows, **vars(difference))


def _sizes(servable: Servable, record: WarmUp) -> Iterator[tuple[int, tuple[Tensor, ...], tuple[Tensor, ...] | None]]:
    """Yield rows, inputs and expected outputs: as the record has them, then repeated to each of its batch sizes.

    Lazily: what comes after the first has been answered once, so it fits the signature.
    """
    shape = record.inputs[0].shape
    own = shape[0] if shape else 1
    yield own, record.inputs, record.expected
    name = record.signature or DEFAULT_SIGNATURE
    for rows in record.batch_sizes:
        if not servable.signatures[name].batched:
            raise _CanNotRepeat(f"signature {name!r} is not batched")
        if not own:
            raise _CanNotRepeat("there is no row to repeat")
        expected = record.expected
        yield rows, _repeated(record.inputs, rows), None if expected is None else _repeated(expected, rows)


def _repeated(tensors: tuple[Tensor, ...], rows: int) -> tuple[Tensor, ...]:
    size_bytes = sum(len(tensor.data) * -(-rows // tensor.shape[0]) for tensor in tensors)
    if size_bytes > MAX_CALL_BYTES:
        raise _CanNotRepeat(f"{rows} rows have {size_bytes} bytes, the limit is {MAX_CALL_BYTES}")
    return tuple([from_array(it.name, np.resize(it.array(), (rows, *it.shape[1:]))) for it in tensors])
