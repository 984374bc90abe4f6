"""Has a servable answer its warm-up and golden requests, one after the other, as it will answer real ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from pipeline.clock import SystemClock
from pipeline.errors import GoldenMismatch, LoadFailed, NoInputs, PenstockError, WarmUpFailed
from pipeline.records import DEFAULT_SIGNATURE, WarmUp
from pipeline.registry.servable import Servable, ServableId
from pipeline.serving.batching import layout_of, match, member
from pipeline.serving.computation import compute
from pipeline.serving.form import Form, form_of
from pipeline.settings import BatchingSettings
from pipeline.tensors import Tensor, from_array
from pipeline.warm_up.comparison import Difference, compare

MAX_CALL_BYTES: Final = 1 << 30
AS_DECLARED: Final = BatchingSettings()


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


def run(
    id_: ServableId, servable: Servable, records: Sequence[WarmUp], batching: BatchingSettings = AS_DECLARED
) -> Iterator[Verdict]:
    """Yield the verdict of each record, in order, each computed when it is asked for.

    On the calling thread, for as long as the model takes. The inputs pass the checks of real requests, and are batched
    by the settings of their stream; the first record of a signature is answered at each of its allowed batch sizes too.
    A record ends at its first error: GoldenMismatch, or WarmUpFailed for a request that the signature refuses or the
    servable fails.
    """
    seen: set[str] = set()
    for position, record in enumerate(records):
        calls, error = 0, None
        signature = record.signature or DEFAULT_SIGNATURE
        is_first = signature not in seen
        seen.add(signature)
        try:
            for _ in _answers(id_, servable, position, record, batching, is_first=is_first):
                calls += 1
        except LoadFailed as failure:
            error = failure
        yield Verdict(position, record.description, record.expected is not None, calls, error)


def predict(
    id_: ServableId,
    servable: Servable,
    signature: str,
    inputs: tuple[Tensor, ...],
    batching: BatchingSettings = AS_DECLARED,
) -> tuple[Tensor, ...]:
    """Answer one request as the dispatcher would; raises BadRequest, ModelFailed, or another error of the tree."""
    if not inputs:
        raise NoInputs
    form = form_of(str(id_), servable, signature or DEFAULT_SIGNATURE, batching)
    [outcome] = compute(servable, form, [member(form, match(form, layout_of(inputs)), inputs)], SystemClock())
    if outcome.error is not None:
        raise outcome.error
    return outcome.outputs


def _answers(
    id_: ServableId, servable: Servable, position: int, record: WarmUp, batching: BatchingSettings, *, is_first: bool
) -> Iterator[None]:
    """Make the calls of one record, and yield after each that went well."""
    try:
        form = form_of(str(id_), servable, record.signature or DEFAULT_SIGNATURE, batching)
        for rows, inputs, expected in _sizes(form, record, is_first=is_first):
            for _ in range(record.iterations):
                got = predict(id_, servable, record.signature, inputs, batching)
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


def _sizes(
    form: Form, record: WarmUp, *, is_first: bool
) -> Iterator[tuple[int, tuple[Tensor, ...], tuple[Tensor, ...] | None]]:
    """Yield rows, inputs and expected outputs: as the record has them, then repeated to each of its batch sizes.

    Lazily: what comes after the first has been answered once, so it fits the signature.
    """
    shape = record.inputs[0].shape
    own = shape[0] if shape else 1
    yield own, record.inputs, record.expected
    if record.batch_sizes and not form.signature.batched:
        raise _CanNotRepeat(f"signature {form.name!r} is not batched")
    if record.batch_sizes and not own:
        raise _CanNotRepeat("there is no row to repeat")
    allowed = [size for size in form.sizes if is_first and own and size != own and size not in record.batch_sizes]
    expected = record.expected
    for rows in (*record.batch_sizes, *allowed):
        yield rows, _repeated(record.inputs, rows), None if expected is None else _repeated(expected, rows)


def _repeated(tensors: tuple[Tensor, ...], rows: int) -> tuple[Tensor, ...]:
    size_bytes = sum(len(tensor.data) * -(-rows // tensor.shape[0]) for tensor in tensors)
    if size_bytes > MAX_CALL_BYTES:
        raise _CanNotRepeat(f"{rows} rows have {size_bytes} bytes, the limit is {MAX_CALL_BYTES}")
    return tuple([from_array(it.name, np.resize(it.array(), (rows, *it.shape[1:]))) for it in tensors])
