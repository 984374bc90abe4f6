"""MessagePack keeps the contract of every codec, and its own."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from msgpack_codec import MsgpackCodec

from pipeline.codecs.codec import Limits
from pipeline.errors import Undecodable
from pipeline.tensors import from_array
from pipeline.testing.codec_contract import CodecContract


class TestMsgpack(CodecContract):
    """What all codecs promise."""

    entry_point = "msgpack_codec:MsgpackCodec"


INPUT = {"name": "x", "datatype": "FP32", "shape": [1, 2], "data": np.float32([[1, 2]]).tobytes()}


def test_whoever_writes_it_may_leave_out_all_but_the_inputs() -> None:
    """And add what we do not know."""
    value = msgspec.msgpack.encode({"inputs": [INPUT], "sent_by": "a device"})
    request = MsgpackCodec().decode_request(value, Limits())
    assert request.inputs == (from_array("x", np.float32([[1, 2]])),)
    assert (request.id, request.servable, request.version) == ("", "", None)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ([INPUT], "Expected `object`, got `array`"),
        ({}, "missing required field `inputs`"),
        ({"inputs": [{**INPUT, "data": [1.0, 2.0]}]}, r"Expected `bytes`, got `array` - at `\$.inputs\[0\].data`"),
        ({"inputs": [{**INPUT, "shape": [3, 2]}]}, "needs 24 bytes, got 8"),
        ({"inputs": [], "version": 2**63}, "version"),
    ],
)
def test_what_is_no_request_is_refused_with_the_place_and_the_reason(body: object, words: str) -> None:
    """Its writer reads them in the error result."""
    with pytest.raises(Undecodable, match=words):
        MsgpackCodec().decode_request(msgspec.msgpack.encode(body), Limits())
