"""Fakes that keep their contracts: a clock set by hand, an executor that runs at once, a servable that adds."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from typing import Any

from pipeline.registry import policy
from pipeline.registry.manager import Manager
from pipeline.registry.servable import Servable, ServableId, Signature, TensorSpec
from pipeline.registry.source import Aspired
from pipeline.registry.states import EventBus
from pipeline.tensors import Array


class FakeClock:
    """See Clock; stands still until ``advance``."""

    def __init__(self, unix_ms: int = 1_700_000_000_000) -> None:
        self._unix_ms, self._monotonic_s = unix_ms, 0.0

    def monotonic_s(self) -> float:
        """See Clock."""
        return self._monotonic_s

    def unix_ms(self) -> int:
        """See Clock."""
        return self._unix_ms

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self._monotonic_s += seconds
        self._unix_ms += int(seconds * 1000)


class InlineExecutor(Executor):
    """Runs what is submitted at once, on the submitting thread."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """See Executor."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001  # an executor hands on whatever was raised
            future.set_exception(error)
        return future


class AddingServable:
    """``sum`` FP32 [rows] is the sum over the columns of ``x`` FP32 [rows, 2]; a row that holds 13 makes it raise."""

    signatures: Mapping[str, Signature] = {
        "serving_default": Signature((TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("sum", "FP32", (-1,)),))
    }

    def __init__(self) -> None:
        self.calls: list[int] = []

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """See Servable; notes how many rows each call had."""
        del signature
        self.calls.append(len(inputs["x"]))
        if (inputs["x"] == 13).any():
            raise RuntimeError("thirteen")
        return {"sum": inputs["x"].sum(axis=1)}


class ReadyLoader:
    """See Loader; has its servable ready."""

    def __init__(self, servable: Servable) -> None:
        self._servable = servable

    def estimate_bytes(self) -> int | None:
        """See Loader."""
        return None

    def load(self) -> Servable:
        """See Loader."""
        return self._servable

    def unload(self) -> None:
        """See Loader."""


def manager_with(servables: Mapping[ServableId, Servable], clock: FakeClock | None = None) -> Manager:
    """Return a manager in which these versions are available, with everything on the calling thread."""
    manager = Manager(
        policy.availability_preserving, InlineExecutor(), InlineExecutor(), EventBus(), clock or FakeClock()
    )
    for stream in {id_.name for id_ in servables}:
        items = [
            Aspired(id_, ReadyLoader(it), digest="sha256:0") for id_, it in servables.items() if id_.name == stream
        ]
        manager.set_aspired(stream, items, {}, 0)
    return manager
