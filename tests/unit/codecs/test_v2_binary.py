"""V2 JSON with a binary tail: in and out, and no length is believed."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from pipeline.codecs.codec import Limits
from pipeline.codecs.v2_binary import TailedJson
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.errors import BadRequest, RecordTooLarge, TooManyTensors, Undecodable
from pipeline.records import PredictRequest, PredictResult
from pipeline.tensors import Tensor, from_array
from pipeline.testing.strategies import tensors
from tests.unit.serving.test_dispatcher import dispatcher, record

LIMITS = Limits()


def written(inputs: list[Tensor], is_in_tail: list[bool], **body: Any) -> tuple[bytes, int]:
    """Write a request as Triton's client does."""
    plain = json.loads(V2JsonCodec().encode_request(PredictRequest("a", "m", inputs=tuple(inputs))))
    tail = b""
    for item, tensor, is_behind in zip(plain["inputs"], inputs, is_in_tail, strict=True):
        if is_behind:
            del item["data"]
            item["parameters"] = {"binary_data_size": len(tensor.data)}
            tail += bytes(tensor.data)
    head = json.dumps({**plain, **body}).encode()
    return head + tail, len(head)


def read(value: bytes, json_bytes: int, limits: Limits = LIMITS) -> PredictRequest:
    return TailedJson(json_bytes).decode_request(value, limits)


@given(st.lists(st.tuples(tensors(), st.booleans()), max_size=4))
def test_tensors_in_json_and_behind_it_are_the_same(items: list[tuple[Tensor, bool]]) -> None:
    inputs = [tensor for tensor, _ in items]
    value, json_bytes = written(inputs, [is_behind for _, is_behind in items])
    assert read(value, json_bytes) == PredictRequest("a", "m", inputs=tuple(inputs))


@given(st.lists(tensors(), max_size=4), st.booleans(), st.data())
def test_outputs_are_behind_the_json_where_the_request_wants_them_there(
    outputs: list[Tensor],
    is_all: bool,  # noqa: FBT001  # drawn
    data: st.DataObject,
) -> None:
    named = {t.name: data.draw(st.booleans()) for t in outputs[::2]}
    wanted = [{"name": name, "parameters": {"binary_data": is_behind}} for name, is_behind in named.items()]
    value, json_bytes = written([], [], parameters={"binary_data_output": is_all}, outputs=wanted)
    codec = TailedJson(json_bytes)
    assert codec.decode_request(value, LIMITS).parameters == {}
    answer, size = codec.encode_result(PredictResult("a", "m", 1, tuple(outputs)))
    body = json.loads(answer[:size])
    tail = answer[size:] if size is not None else b""
    for item, tensor in zip(body.get("outputs", []), outputs, strict=True):
        behind = item.get("parameters", {}).get("binary_data_size")
        assert (behind is not None) == named.get(tensor.name, is_all)
        if behind is not None:
            assert "data" not in item
            assert tail[:behind] == bytes(tensor.data)
            tail = tail[behind:]
    assert tail == b""


X = Tensor("x", "FP32", (2,), struct.pack("<2f", 1, 2))
TEXT = from_array("t", np.array([b"ab", b""], object))


def changed(**item: Any) -> tuple[bytes, int]:
    value, json_bytes = written([X], [True])
    body = json.loads(value[:json_bytes])
    body["inputs"][0] |= item
    head = json.dumps(body).encode()
    return head + value[json_bytes:], len(head)


def sized(size: Any) -> tuple[bytes, int]:
    return changed(parameters={"binary_data_size": size})


HOSTILE: dict[str, tuple[bytes, int]] = {
    "no JSON at all": (b"{}", 0),
    "more JSON than the record has": (b"{}", 3),
    "all of it": (written([X], [True])[0], len(written([X], [True])[0])),
    "JSON cut short": (written([X], [True])[0], 5),
    "a negative size": sized(-8),
    "a size beyond the end": sized(9),
    "a huge size": sized(2**63),
    "a size that leaves bytes over": sized(4),
    "text for a size": sized("8"),
    "a truth for a size": sized(size=True),
    "a fraction for a size": sized(8.0),
    "a shape of more elements": changed(shape=[3]),
    "a shape that overflows": changed(shape=[2**40, 2**40]),
    "a negative shape": changed(shape=[-2]),
    "an unknown datatype": changed(datatype="COMPLEX"),
    "data in both places": changed(data=[1, 2]),
    "no data": changed(parameters={}),
    "bytes behind the last tensor": (written([X], [True])[0] + b"\0", written([X], [True])[1]),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_lengths_that_do_not_fit_are_undecodable(what: str) -> None:
    with pytest.raises(Undecodable):
        read(*HOSTILE[what])


@pytest.mark.parametrize("length", [0, 3, 2**32 - 1])
def test_an_element_of_bytes_that_ends_behind_the_tensor_is_undecodable(length: int) -> None:
    value, json_bytes = written([TEXT], [True])
    with pytest.raises(Undecodable):
        read(value[:json_bytes] + struct.pack("<I", length) + value[json_bytes + 4 :], json_bytes)


def test_limits_hold() -> None:
    value, json_bytes = written([X, X], [True, True])
    with pytest.raises(TooManyTensors):
        read(value, json_bytes, Limits(max_tensors=1))
    with pytest.raises(RecordTooLarge):
        read(value, json_bytes, Limits(max_record_bytes=len(value) - 1))


@given(st.binary(max_size=60), st.integers(0, 70), st.integers(0, 300), st.integers(0, 255))
def test_any_bytes_and_any_changed_byte_decode_or_raise_bad_request(
    noise: bytes, json_bytes: int, place: int, byte: int
) -> None:
    value, size = written([X, TEXT], [True, True])
    mutated = bytearray(value)
    mutated[place % len(value)] = byte
    for given_value, given_size in ((noise, json_bytes), (bytes(mutated), size), (value, json_bytes)):
        try:
            read(given_value, given_size)
        except BadRequest:
            pass


def test_a_record_as_tritons_client_writes_it_is_answered_as_that_client_reads_it() -> None:
    pair = Tensor("x", "FP32", (1, 2), struct.pack("<2f", 1, 2))
    value, json_bytes = written([pair], [True], model_name="adder", parameters={"binary_data_output": True})
    it = dispatcher()
    headers = [
        ("Content-Type", b"application/octet-stream"),
        ("Inference-Header-Content-Length", str(json_bytes).encode()),
    ]
    (answer,) = it.answer(it.decode([record(value, headers)]))
    said = dict(answer.headers)
    assert said["content-type"] == b"application/octet-stream"
    size = int(said["Inference-Header-Content-Length"] or b"")
    [output] = json.loads(answer.value[:size])["outputs"]
    assert (output["name"], output["shape"], output["parameters"]) == ("sum", [1], {"binary_data_size": 4})
    assert answer.value[size:] == struct.pack("<f", 3)
