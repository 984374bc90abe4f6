"""A compiled OpenVINO model that answers: infer requests, one or more for each caller."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipeline.records import DEFAULT_SIGNATURE
from pipeline.registry.servable import Description, Signature
from pipeline.servables.openvino.weights import Weights
from pipeline.tensors import Array


def plan(rows: int, batch: int | None, streams: int) -> list[int]:
    """Return the rows of each infer request for a call of ``rows`` rows: ``batch`` at a time where the model is static.

    Where it is not, two rows a stream and more are shared out among the streams: one request occupies one stream only.
    """
    if batch is not None:
        return [min(batch, rows - start) for start in range(0, rows, batch)]
    if streams < 2 or rows < 2 * streams:  # that many make it worth the while
        return [rows]
    return [rows // streams + (place < rows % streams) for place in range(streams)]


class OpenVinoServable:
    """A compiled model with its infer requests, made on demand.

    Inputs are copied into a request and outputs out of it, once each: no array of a caller is kept, and no result
    changes afterwards. BYTES lose trailing NUL bytes, because numpy's fixed-width strings do. ``batch`` is the number
    of rows that the model takes, None where that is open. ``picky`` is asked whether the model allows the shapes of a
    call, see ``reading.takes_two_rows``. ``weights`` is what the model computes on, and keeps no reference to.
    """

    def __init__(
        self,
        compiled: Any,
        signature: Signature,
        description: Description,
        batch: int | None,
        picky: Any = None,
        weights: Weights | None = None,
    ) -> None:
        self.signatures: Mapping[str, Signature] = {DEFAULT_SIGNATURE: signature}
        self.description = description
        self._compiled = compiled
        self._batch = batch
        self._picky = picky
        self._weights = weights
        self._lock = threading.Lock()
        self._streams = int(compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")) if signature.batched else 1
        self._idle: deque[Any] = deque()
        self._inputs = [(place, spec.name, spec.datatype == "BYTES") for place, spec in enumerate(signature.inputs)]
        self._outputs = [(place, spec.name, spec.datatype == "BYTES") for place, spec in enumerate(signature.outputs)]

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:  # noqa: ARG002  # there is one
        """See Servable. A request that failed is not used again."""
        if self._picky is not None:
            with self._lock:
                self._picky.reshape({place: list(inputs[name].shape) for place, name, _ in self._inputs})
        if self._batch is None and self._streams == 1:
            request = self._request()
            self._fill(request, inputs, 0, None)
            arrays = request.infer().to_tuple()  # copies
            outputs = {
                name: _take(request, place, is_bytes=True) if is_bytes else arrays[place]
                for place, name, is_bytes in self._outputs
            }
            self._idle.append(request)
            return outputs
        return self._predict_in_parts(inputs)

    def close(self) -> None:
        """Free the model, its requests and its weights; nothing is running by then."""
        self._idle.clear()
        self._compiled = self._picky = None
        if self._weights is not None:
            self._weights.close()
            self._weights = None

    def _predict_in_parts(self, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        rows = len(inputs[self._inputs[0][1]])
        sizes = plan(rows, self._batch, self._streams) or [0]
        parts: list[Mapping[str, Array]] = []
        for first in range(0, len(sizes), self._streams):
            together = sizes[first : first + self._streams]
            parts += self._run(inputs, sum(sizes[:first]), together)
        if len(parts) == 1:
            return parts[0]
        return {name: np.concatenate([part[name] for part in parts]) for _, name, _ in self._outputs}

    def _run(self, inputs: Mapping[str, Array], start: int, sizes: Sequence[int]) -> list[Mapping[str, Array]]:
        """Compute parts of the rows at the same time, and wait for all, whatever becomes of one of them."""
        requests = [self._request() for _ in sizes]
        started = []
        try:
            for request, size in zip(requests, sizes, strict=True):
                self._fill(request, inputs, start, size)
                start += size
                request.start_async()
                started.append(request)
        finally:
            failed = [error for error in map(_wait, started) if error is not None]
        if failed:
            raise failed[0]
        parts: list[Mapping[str, Array]] = [
            {name: _take(request, place, is_bytes=is_bytes)[:size] for place, name, is_bytes in self._outputs}
            for request, size in zip(requests, sizes, strict=True)
        ]
        self._idle.extend(requests)
        return parts

    def _request(self) -> Any:
        try:
            return self._idle.pop()
        except IndexError:
            return self._compiled.create_infer_request()

    def _fill(self, request: Any, inputs: Mapping[str, Array], start: int, size: int | None) -> None:
        """Put all rows, or ``size`` of them, into a request; a static batch is filled up with the last of them."""
        for place, name, is_bytes in self._inputs:
            array = inputs[name] if size is None else inputs[name][start : start + size]
            if size is not None and self._batch is not None and size < self._batch:
                array = _filled_up(array, self._batch)
            tensor = request.get_input_tensor(place)
            tensor.shape = array.shape
            if is_bytes:
                _put_bytes(tensor, array)
            else:
                tensor.data[...] = array


def _filled_up(array: Array, rows: int) -> Array:
    if not len(array):
        return np.full((rows, *array.shape[1:]), b"" if array.dtype == object else 0, array.dtype)
    return np.concatenate([array, np.repeat(array[-1:], rows - len(array), axis=0)])


def _wait(request: Any) -> Exception | None:
    try:
        request.wait()
    except Exception as error:  # noqa: BLE001  # the caller raises it, when nothing is running any more
        return error
    return None


def _take(request: Any, place: int, *, is_bytes: bool) -> Array:
    tensor = request.get_output_tensor(place)
    array: Array = _take_bytes(tensor) if is_bytes else tensor.data.copy()
    return array


# OpenVINO divides by the number of elements of a text tensor: with none, it takes the whole process down.


def _put_bytes(tensor: Any, array: Array) -> None:
    if array.size:
        tensor.bytes_data = array.astype("S")


def _take_bytes(tensor: Any) -> Array:
    if not tensor.size:
        return np.empty(tuple(tensor.shape), object)
    array: Array = tensor.bytes_data.astype(object)
    return array
