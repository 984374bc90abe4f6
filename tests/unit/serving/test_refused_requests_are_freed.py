"""What is refused is freed with its batch: no traceback leads back to it, for the collector would not find that."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.connector import Headers, Record
from pipeline.errors import InvalidInput, PenstockError
from pipeline.records import PredictRequest
from pipeline.registry.servable import Servable, ServableId, Signature
from pipeline.serving.dispatcher import Dispatcher
from pipeline.settings import RouteSettings
from pipeline.tensors import Array, from_array
from pipeline.testing.fakes import AddingServable, FakeClock, manager_with

CLOCK = FakeClock()
AVRO = AvroCodec()


class Refusing:
    """Raises what it is told to, or returns what can not be cut."""

    signatures: ClassVar[Mapping[str, Signature]] = AddingServable.signatures
    description = None

    def __init__(self, error: Exception | None) -> None:
        self.error = error

    def predict(self, _signature: str, _inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        if self.error is not None:
            raise self.error
        return {spec.name: np.zeros(()) for spec in self.signatures["serving_default"].outputs}


def request(name: str = "x", rows: int = 1, **more: Any) -> bytes:
    inputs = (from_array(name, np.zeros((rows, 2), np.float32)),)
    return AVRO.encode_request(PredictRequest("a", inputs=inputs, **more))


@pytest.fixture(autouse=True)
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize(
    ("value", "headers", "servable", "route", "code"),
    [
        (b"\xff" * 9, (), None, {}, "undecodable"),
        (request()[:-3], (), None, {}, "undecodable"),
        (b'{"inputs": [', (("content-type", b"application/json"),), None, {}, "undecodable"),
        (b"", (), None, {}, "no_inputs"),
        (request(), (), None, {"max_record_bytes": 9}, "record_too_large"),
        (request(), (("deadline-ms", b"soon"),), None, {}, "undecodable"),
        (request(), (("reply_to", b"elsewhere"),), None, {}, "reply_refused"),
        (b"{", (("content-type", b"application/cloudevents+json"),), None, {}, "undecodable"),
        (request(deadline_ms=1), (), None, {}, "deadline_exceeded"),
        (request("nobody"), (), None, {}, "unknown_input"),
        (request(servable="nobody"), (), None, {}, "unknown_servable"),
        (request(version=9), (), None, {}, "unknown_version"),
        (request(signature="nobody"), (), None, {}, "unknown_signature"),
        (request(), (), Refusing(ValueError("no")), {}, "model_error"),
        (request(), (), Refusing(InvalidInput("adder:3", "x", 0, "no")), {}, "invalid_input"),
        (request(), (), Refusing(None), {}, "model_error"),
        (request(), (), None, {"max_result_bytes": 9}, "result_too_large"),
    ],
)
def test_it_is_gone_with_its_batch(
    value: bytes, headers: Headers, servable: Servable | None, route: dict[str, Any], code: str
) -> None:
    settings = RouteSettings(servable="adder", request_topic="q", result_topic="r", **route)
    manager = manager_with({ServableId("adder", 3): servable or AddingServable()}, CLOCK)
    it = Dispatcher(settings, manager, [AVRO, V2JsonCodec()], CLOCK)
    batch = it.decode([Record(value, b"key", headers, "q", 1, offset, CLOCK.unix_ms()) for offset in range(3)])
    assert len(it.answer(batch)) == 3
    errors: list[weakref.ref[PenstockError]] = []
    for pending in batch:
        assert pending.error is not None
        assert pending.error.code == code
        errors.append(weakref.ref(pending.error))
    if isinstance(servable, Refusing):
        servable.error = None
    del batch, pending
    assert [error() for error in errors] == [None] * 3
