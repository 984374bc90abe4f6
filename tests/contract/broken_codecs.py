"""A codec that keeps the contract, and one for each way of breaking it."""

from __future__ import annotations

import time

from msgspec.structs import replace

from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.codec import Limits
from pipeline.codecs.v2_json import V2JsonCodec
from pipeline.errors import NotRepresentable, RecordTooLarge, Undecodable
from pipeline.records import PredictRequest, PredictResult
from pipeline.tensors import Tensor

_TAG = b"\x01J"
_HEAD_BYTES = 6
_JSON = V2JsonCodec()


class Tagged:
    """V2 JSON behind two bytes of its own, and its length in four."""

    content_type = "application/x-tagged"

    def recognises(self, value: bytes) -> bool:
        return value[:2] == _TAG

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        if len(value) > limits.max_record_bytes:
            raise RecordTooLarge(len(value), limits.max_record_bytes)
        return _JSON.decode_request(self.body(value), limits)

    def encode_request(self, request: PredictRequest) -> bytes:
        return self.tagged(_JSON.encode_request(request))

    def decode_result(self, value: bytes) -> PredictResult:
        return _JSON.decode_result(self.body(value))

    def encode_result(self, result: PredictResult) -> bytes:
        return self.tagged(_JSON.encode_result(result))

    def body(self, value: bytes) -> bytes:
        size = int.from_bytes(value[2:_HEAD_BYTES], "little")
        if value[:2] != _TAG or size != len(value) - _HEAD_BYTES:
            raise Undecodable("its tag or its length is wrong")
        return value[_HEAD_BYTES:]

    def tagged(self, body: bytes) -> bytes:
        return _TAG + len(body).to_bytes(4, "little") + body


class Shouts(Tagged):
    content_type = "application/X-TAGGED"


class HasParameters(Tagged):
    content_type = "application/x-tagged; charset=utf-8"


class IsCalledJson(Tagged):
    content_type = "application/json"


class RecognisesAll(Tagged):
    def recognises(self, value):
        return bool(value)


class RecognisesEmptiness(Tagged):
    def recognises(self, value):
        return not value or super().recognises(value)


class RecognisesNone(Tagged):
    def recognises(self, value):
        return False


class RaisesForOneByte(Tagged):
    def recognises(self, value):
        return value != b"" and (value[0], value[1]) == (1, 74)


class LosesParameters(Tagged):
    def decode_request(self, value, limits):
        return replace(super().decode_request(value, limits), parameters={})


class LosesTheSource(Tagged):
    def encode_result(self, result):
        return super().encode_result(replace(result, source=None))


class LosesErrors(Tagged):
    def encode_result(self, result):
        return super().encode_result(replace(result, error=None))


class RefusesErrors(Tagged):
    def encode_result(self, result):
        if result.error is not None:
            raise NotRepresentable("an error has no outputs")
        return super().encode_result(result)


class RaisesForText(Tagged):
    def encode_result(self, result):
        if any(tensor.datatype == "BYTES" for tensor in result.outputs):
            raise TypeError("text")
        return super().encode_result(result)


class WritesText(Tagged):
    def encode_request(self, request):
        return super().encode_request(request).decode("latin-1")


class RaisesForGarbage(Tagged):
    def body(self, value):
        return value[value.index(_TAG) + _HEAD_BYTES :]


class ChecksNoTensor(Tagged):
    def decode_request(self, value, limits):
        if value[:1] == b"\x01":
            return super().decode_request(value, limits)
        return PredictRequest("", inputs=(Tensor("x", "FP32", (2,), value),))


class HasNumbersForNames(Tagged):
    def decode_request(self, value, limits):
        request = super().decode_request(value, limits)
        return replace(request, servable=len(request.servable))


class IgnoresLargeRecords(Tagged):
    def decode_request(self, value, limits):
        return super().decode_request(value, replace(limits, max_record_bytes=2**31))


class IgnoresManyTensors(Tagged):
    def decode_request(self, value, limits):
        return super().decode_request(value, replace(limits, max_tensors=2**31))


class TrustsLengths(Tagged):
    def body(self, value):
        room = bytearray(int.from_bytes(value[2:_HEAD_BYTES], "little"))
        room[:] = super().body(value)
        return bytes(room)


class MixesThreads(Tagged):
    def decode_request(self, value, limits):
        self.value = value
        time.sleep(0.001)
        return super().decode_request(self.value, limits)


class RemembersByLength(Tagged):
    def __init__(self):
        self.seen = {}

    def decode_request(self, value, limits):
        if len(value) not in self.seen:
            self.seen[len(value)] = super().decode_request(value, limits)
        return self.seen[len(value)]


class AnswersInAvro(Tagged):
    def encode_result(self, result):
        return AvroCodec().encode_result(result)


class RaisesForThirteen(Tagged):
    def encode_result(self, result):
        if any(13 in tensor.array() for tensor in result.outputs):
            raise KeyError("thirteen")
        return super().encode_result(result)
