"""What a codec returned and what it raised, looked at; and records of its own with one byte changed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from pipeline.codecs.codec import Codec, Limits
from pipeline.connector import Answer, Record
from pipeline.errors import BadRequest
from pipeline.records import PredictRequest
from pipeline.registry.servable import ServableId, Signature, TensorSpec
from pipeline.serving.dispatcher import Dispatcher
from pipeline.settings import RouteSettings
from pipeline.tensors import Array, Tensor
from pipeline.testing.fakes import FakeClock, manager_with

_MOST_CHANGES: Final = 20_000


def check_tensors(tensors: Iterable[Tensor]) -> None:
    """Fail where a tensor was not checked, or is none for NumPy."""
    for tensor in tensors:
        tensor.check()
        assert tensor.array().shape == tensor.shape, f"{tensor} has no array"


def raised(call: Callable[..., object], *arguments: object) -> BaseException | None:
    """Return what a call raises, whatever it is."""
    try:
        call(*arguments)
    except BaseException as error:  # noqa: BLE001  # whatever it is, the test looks at it
        return error
    return None


def outcome(codec: Codec, value: bytes) -> PredictRequest | str:
    """Return the request in these bytes, or the code of the error."""
    try:
        return codec.decode_request(value, Limits())
    except BadRequest as error:
        return error.code


def changes(value: bytes) -> list[tuple[int, int]]:
    """Return places and what to put there: all that there are, or as many as is bearable, the same in every run."""
    everything = [(place, byte) for place in range(len(value)) for byte in range(256)]
    chance = random.Random(0)  # noqa: S311  # reproducible on purpose
    return everything if len(everything) <= _MOST_CHANGES else chance.sample(everything, _MOST_CHANGES)


class Echo:
    """A servable that returns the inputs of one request as they are, or raises."""

    def __init__(self, request: PredictRequest, *, is_failing: bool = False) -> None:
        specs = tuple(TensorSpec(it.name, it.datatype, it.shape) for it in request.inputs)
        self.signatures = {"serving_default": Signature(specs, specs, batched=False)}
        self._is_failing = is_failing

    def predict(self, signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        """See Servable."""
        del signature
        if self._is_failing:
            raise ValueError("thirteen: \N{SNOWMAN}\n")
        return inputs

    def answer(self, value: bytes, codecs: Iterable[Codec], content_type: str) -> Answer:
        """Return the answer of a route that has these codecs to a record that names its content type."""
        route = RouteSettings(servable="echo", request_topic="q", result_topic="r")
        dispatcher = Dispatcher(route, manager_with({ServableId("echo", 1): self}), tuple(codecs), FakeClock())
        headers = (("content-type", content_type.encode()),)
        [answer] = dispatcher.answer(dispatcher.decode([Record(value, b"k", headers, "q", 0, 0, 0)]))
        return answer
