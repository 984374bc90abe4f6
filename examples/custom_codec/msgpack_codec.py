"""A codec of its own: requests and results are maps in MessagePack, with the fields of our records."""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

import msgspec

from pipeline.codecs.codec import Limits
from pipeline.errors import RecordTooLarge, TooManyTensors, Undecodable
from pipeline.records import Error, PredictRequest, PredictResult, Source
from pipeline.tensors import Tensor

_T = TypeVar("_T")
_Long = Annotated[int, msgspec.Meta(le=2**63 - 1)]  # MessagePack's integers go up to 2^64 - 1, our records' do not
# The first byte of a map. No text begins with one of these, nor does Avro.
_MAPS: Final = frozenset(bytes([byte]) for byte in (*range(0x80, 0x90), 0xDE, 0xDF))


class PackedTensor(msgspec.Struct):
    """A tensor as it stands in the map; ``data`` is as Tensor has it."""

    name: str
    datatype: str
    shape: tuple[_Long, ...]
    data: bytes


class PackedRequest(msgspec.Struct):
    """A request as it stands in the map: what others write may leave out all but the inputs."""

    inputs: tuple[PackedTensor, ...]
    id: str = ""
    servable: str = ""
    version: _Long | None = None
    label: str | None = None
    signature: str = ""
    deadline_ms: _Long | None = None
    parameters: dict[str, str] = {}


class PackedSource(msgspec.Struct):
    """Where the request stood."""

    topic: str
    partition: _Long
    offset: _Long


class PackedResult(msgspec.Struct):
    """A result as it stands in the map."""

    id: str
    servable: str
    version: _Long | None
    outputs: tuple[PackedTensor, ...]
    error: Error | None
    source: PackedSource | None
    digest: str | None
    queue_us: _Long
    compute_us: _Long


_requests: Final = msgspec.msgpack.Decoder(PackedRequest)
_results: Final = msgspec.msgpack.Decoder(PackedResult)


class MsgpackCodec:
    """See Codec."""

    content_type = "application/vnd.msgpack"

    def recognises(self, value: bytes) -> bool:
        """See Codec: a map."""
        return value[:1] in _MAPS

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """See Codec."""
        if len(value) > limits.max_record_bytes:
            raise RecordTooLarge(len(value), limits.max_record_bytes)
        body = read(_requests, value)
        if len(body.inputs) > limits.max_tensors:
            raise TooManyTensors(len(body.inputs), limits.max_tensors)
        return PredictRequest(**{**msgspec.structs.asdict(body), "inputs": tensors_of(body.inputs)})

    def encode_request(self, request: PredictRequest) -> bytes:
        """See Codec: our records are structs, which msgspec writes as maps."""
        return msgspec.msgpack.encode(request)

    def decode_result(self, value: bytes) -> PredictResult:
        """See Codec."""
        body = read(_results, value)
        source = body.source and Source(body.source.topic, body.source.partition, body.source.offset)
        return PredictResult(**{**msgspec.structs.asdict(body), "outputs": tensors_of(body.outputs), "source": source})

    def encode_result(self, result: PredictResult) -> bytes:
        """See Codec: everything has a form here, so nothing is refused."""
        return msgspec.msgpack.encode(result)


def read(decoder: msgspec.msgpack.Decoder[_T], value: bytes) -> _T:
    """Return what a decoder makes of the bytes; raises Undecodable, whatever msgspec raises."""
    try:
        return decoder.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"not a map of MessagePack as expected: {error}") from error


def tensors_of(packed: tuple[PackedTensor, ...]) -> tuple[Tensor, ...]:
    """Return tensors, each checked: from here on nobody compares a shape with its bytes."""
    tensors = tuple(Tensor(it.name, it.datatype, it.shape, it.data) for it in packed)
    for tensor in tensors:
        tensor.check()
    return tensors
