"""A servable that stands for the version in its processes."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import pairwise

import msgspec
import numpy as np

from pipeline.description import Description, Signature
from pipeline.errors import PredictTimedOut, ServableDied
from pipeline.isolation.crew import Crew
from pipeline.isolation.process import Process
from pipeline.tensors import Array


class IsolatedServable:
    """See Servable. Each call is one process's; a batch is divided among those that are free just then.

    Inputs are copied into shared memory and outputs out of it, once each. Raises what the servable raises, ServableDied
    when its process dies of the call, PredictTimedOut ``timeout_s`` after it began, and either when no process was free
    for so long.
    """

    def __init__(self, crew: Crew, description: Description, processes: int, timeout_s: float) -> None:
        self.signatures: Mapping[str, Signature] = description.signatures
        self.description = msgspec.structs.replace(description, isolation="process", processes=processes, signatures={})
        self._crew = crew
        self._processes = processes
        self._timeout_s = timeout_s

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """See Servable. Waits without the GIL."""
        taken = [self._crew.take(self._timeout_s)]
        rows = _rows(self.signatures.get(signature), inputs) if self._processes > 1 else 1
        taken += self._crew.take_idle(min(rows, self._processes) - 1)
        deadline_s = time.monotonic() + self._timeout_s
        results: list[Mapping[str, Array] | Exception] = []
        parts = _parts(inputs, rows, len(taken))
        asked = [self._begin(process, signature, part) for process, part in zip(taken, parts, strict=True)]
        for process, error in zip(taken, asked, strict=True):  # of all: an answer that is not read stays in the way
            results.append(error or self._finish(process, deadline_s))
        return _joined(results)

    def _begin(self, process: Process, signature: str, inputs: Mapping[str, Array]) -> Exception | None:
        try:
            process.begin(signature, inputs)
        except ServableDied as error:
            self._crew.ended(process)
            return error
        except Exception as error:  # noqa: BLE001  # inputs that can not be copied over
            self._crew.give_back(process)
            return error
        return None

    def _finish(self, process: Process, deadline_s: float) -> Mapping[str, Array] | Exception:
        try:
            found = process.finish(deadline_s, self._timeout_s)
        except (ServableDied, PredictTimedOut) as error:
            self._crew.ended(process)
            return error
        except Exception as error:  # noqa: BLE001  # what the servable raised
            self._crew.give_back(process)
            return error
        self._crew.give_back(process)
        return found


def _rows(signature: Signature | None, inputs: Mapping[str, Array]) -> int:
    """Return into how many parts a call can be divided: its rows, where it may have any number of them."""
    if signature is None or not signature.batched:
        return 1
    if any(spec.shape[:1] != (-1,) for spec in (*signature.inputs, *signature.outputs)):
        return 1
    lengths = {array.shape[0] if array.ndim else 0 for array in inputs.values()}
    return max(1, lengths.pop()) if len(lengths) == 1 else 1


def _parts(inputs: Mapping[str, Array], rows: int, count: int) -> Sequence[Mapping[str, Array]]:
    """Return the inputs in ``count`` parts of about as many rows each, in order."""
    if count == 1:
        return [inputs]
    ends = [rows * part // count for part in range(count + 1)]
    return [{name: array[a:b] for name, array in inputs.items()} for a, b in pairwise(ends)]


def _joined(results: Sequence[Mapping[str, Array] | Exception]) -> Mapping[str, Array]:
    """Return the outputs of all parts, joined; raises the first error among them."""
    parts: list[Mapping[str, Array]] = []
    for result in results:
        if isinstance(result, Exception):
            raise result
        parts.append(result)
    first = parts[0]
    return first if len(parts) == 1 else {name: np.concatenate([part[name] for part in parts]) for name in first}
