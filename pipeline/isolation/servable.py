"""A servable that stands for the version in its processes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import msgspec

from pipeline.description import Description, Signature
from pipeline.errors import PredictTimedOut, ServableDied
from pipeline.isolation import division
from pipeline.isolation.crew import Crew
from pipeline.isolation.process import Process
from pipeline.settings import BatchingSettings
from pipeline.tensors import Array


class IsolatedServable:
    """See Servable. Each call is one process's; a batch is divided among those that are free just then.

    ``batching`` returns the stream's settings of now, which say what is not divided, and how many rows a part may have.
    Inputs are copied into shared memory and outputs out of it, once each. Raises what the servable raises, ServableDied
    when its process dies of the call, PredictTimedOut ``timeout_s`` after it began, and either when no process was free
    for so long.
    """

    def __init__(
        self,
        crew: Crew,
        description: Description,
        processes: int,
        timeout_s: float,
        batching: Callable[[], BatchingSettings],
    ) -> None:
        self.signatures: Mapping[str, Signature] = description.signatures
        self.description = msgspec.structs.replace(description, isolation="process", processes=processes, signatures={})
        self._crew = crew
        self._processes = processes
        self._timeout_s = timeout_s
        self._batching = batching

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """See Servable. Waits without the GIL."""
        taken = [self._crew.take(self._timeout_s)]
        rows, sizes = self._divided(signature, inputs) if self._processes > 1 else (1, ())
        taken += self._crew.take_idle(len(division.shares(rows, min(rows, self._processes), sizes)) - 1)
        deadline_s = time.monotonic() + self._timeout_s
        shares = division.shares(rows, len(taken), sizes)
        while len(taken) > len(shares):
            self._crew.release(taken.pop())
        parts = [inputs] if len(shares) == 1 else [division.inputs_of(share, inputs) for share in shares]
        asked = [self._begin(process, signature, part) for process, part in zip(taken, parts, strict=True)]
        results: list[Mapping[str, Array] | Exception] = []
        for process, error in zip(taken, asked, strict=True):  # of all: an answer that is not read stays in the way
            results.append(error or self._finish(process, deadline_s))
        outputs = [_raised(result) for result in results]
        return outputs[0] if len(shares) == 1 else division.joined(shares, outputs)

    def _divided(self, signature: str, inputs: Mapping[str, Array]) -> tuple[int, tuple[int, ...]]:
        """Return into how many parts a call can be divided, and how many rows each may have; none is any number."""
        batching = self._batching()
        if signature in batching.unbatched:
            return 1, ()
        return division.rows_of(self.signatures.get(signature), inputs), batching.allowed_batch_sizes

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


def _raised(result: Mapping[str, Array] | Exception) -> Mapping[str, Array]:
    if isinstance(result, Exception):
        raise result
    return result
