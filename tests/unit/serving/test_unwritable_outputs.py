"""A model that returns or raises what no record can hold costs the requests that made it do so, and nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import pytest

from pipeline.codecs.avro_codec import AvroCodec
from pipeline.connector import Record
from pipeline.control.encoding import encode_state
from pipeline.errors import ModelFailed
from pipeline.records import Error, PredictRequest, ServableState, State
from pipeline.registry.servable import ServableId, Signature, TensorSpec
from pipeline.serving.circuit import Circuit
from pipeline.serving.dispatcher import Dispatcher
from pipeline.settings import CircuitSettings, RouteSettings
from pipeline.tensors import Array, from_array
from pipeline.testing.fakes import FakeClock, manager_with

AVRO, CLOCK = AvroCodec(), FakeClock()
ROUTE = RouteSettings(servable="echo", request_topic="q", result_topic="r")
HALF = "\ud83d"  # of a surrogate pair: what clients send that cut emojis


class Echo:
    """Returns what ``change`` makes of its texts."""

    signatures: ClassVar[Mapping[str, Signature]] = {
        "serving_default": Signature((TensorSpec("x", "BYTES", (-1,)),), (TensorSpec("y", "BYTES", (-1,)),))
    }

    def __init__(self, change: Callable[[list[bytes]], Any]) -> None:
        self._change = change

    def predict(self, _signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        made = self._change(list(inputs["x"]))
        return made if not isinstance(made, list) else {"y": np.array(made, object)}


def errors(change: Callable[[list[bytes]], Any], texts: list[str]) -> list[Error | None]:
    manager = manager_with({ServableId("echo", 1): Echo(change)}, CLOCK)
    it = Dispatcher(ROUTE, manager, [AVRO], CLOCK)
    requests = [PredictRequest(text, inputs=(from_array("x", np.array([text], object)),)) for text in texts]
    records = [Record(AVRO.encode_request(r), b"k", (), "q", 0, n, CLOCK.unix_ms()) for n, r in enumerate(requests)]
    return [AVRO.decode_result(made.value).error for made in it.answer(it.decode(records))]


@pytest.mark.parametrize(("bad", "named"), [(HALF, "UnicodeEncodeError"), (None, "None"), (3, "3"), (-1, "-1")])
def test_what_no_record_can_hold_fails_its_request_alone(bad: Any, named: str) -> None:
    found = errors(lambda texts: [bad if text == b"bad" else text for text in texts], ["a", "bad", "b", "c"])
    assert [error and error.code for error in found] == [None, "model_error", None, None]
    assert found[1] is not None
    assert named in found[1].message


def raising(texts: list[bytes]) -> list[bytes]:
    if b"bad" in texts:
        raise ValueError(f"unknown label {HALF}")
    return texts


def test_an_error_with_such_a_text_is_told_without_it() -> None:
    good, bad = errors(raising, ["a", "bad"])
    assert good is None
    assert bad is not None
    assert (bad.code, "unknown label ?" in bad.message) == ("model_error", True)


@pytest.mark.parametrize("returned", [[3], [-1], [None], 5, [[1], [2, 3]], {"y": None}, {"y": [[1], [2, 3]]}], ids=str)
def test_what_is_no_text_or_no_outputs_is_the_models_error(returned: Any) -> None:
    [error] = errors(lambda _: returned, ["a"])
    assert error is not None
    assert error.code == "model_error"


def test_states_and_circuits_can_tell_of_it() -> None:
    error = Error.of(ValueError(HALF))
    assert error.message == "ValueError: ?"
    encode_state(ServableState("w", "echo", 1, State.END, error))
    circuit = Circuit(CircuitSettings(after_batches=1), CLOCK)
    circuit.note(1, [ModelFailed("echo:1", HALF)])
    assert circuit.standing.last_error.isascii()
