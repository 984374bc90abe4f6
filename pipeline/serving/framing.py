"""How the bytes of one request are framed: as an event, with a binary tail; its result is framed alike."""

from __future__ import annotations

from typing import Final, Protocol

from pipeline.clock import Clock
from pipeline.codecs.codec import Codec, Limits
from pipeline.codecs.v2_binary import TailedJson
from pipeline.connector import Record
from pipeline.errors import NoInputs, Undecodable
from pipeline.records import PredictRequest, PredictResult
from pipeline.serving.cloud_events import (
    BinaryEvent,
    Own,
    Pick,
    StructuredEvent,
    is_event_type,
    is_json_event,
    is_result_of,
)
from pipeline.serving.headers import CONTENT_TYPE, JSON_BYTES, Envelope

NO_VALUE: Final = "the record has no value"


class Framing(Protocol):
    """What reads one request and writes its result; made for that request, used by one thread at a time.

    ``id`` is the request id that the frame tells, if any.
    """

    id: str

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """See Codec."""
        ...

    def encode(self, result: PredictResult) -> tuple[bytes, Own]:
        """Return the bytes of the result, which may be an error, and the headers that they need."""
        ...

    def is_repeated(self, name: str) -> bool:
        """Return whether the result repeats a header of the request."""
        ...


class Plain:
    """See Framing: a codec alone. What the codec is, ``pick`` says when the request is read."""

    id = ""

    def __init__(self, pick: Pick, content_type: str, default: Codec) -> None:
        self._pick, self._content_type, self._codec = pick, content_type, default

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """See Framing."""
        self._codec = self._pick(value, self._content_type)
        if not value:
            raise NoInputs(NO_VALUE)
        return self._codec.decode_request(value, limits)

    def encode(self, result: PredictResult) -> tuple[bytes, Own]:
        """See Framing."""
        return self._codec.encode_result(result), [(CONTENT_TYPE, self._codec.content_type.encode())]

    def is_repeated(self, name: str) -> bool:
        """See Framing: all."""
        del name
        return True


class Tailed:
    """See Framing: V2 JSON with tensors behind it."""

    id = ""

    def __init__(self, json_bytes: int) -> None:
        self._codec = TailedJson(json_bytes)

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """See Framing."""
        if not value:
            raise NoInputs(NO_VALUE)
        return self._codec.decode_request(value, limits)

    def encode(self, result: PredictResult) -> tuple[bytes, Own]:
        """See Framing."""
        value, json_bytes = self._codec.encode_result(result)
        if json_bytes is None:
            return value, [(CONTENT_TYPE, b"application/json")]
        return value, [(CONTENT_TYPE, b"application/octet-stream"), (JSON_BYTES, str(json_bytes).encode())]

    def is_repeated(self, name: str) -> bool:
        """See Framing: all."""
        del name
        return True


class Refused:
    """See Framing: what can not be read, and is answered as no event, whatever it is itself."""

    def __init__(self, reason: str, default: Codec, id_: str = "") -> None:
        self._reason, self._codec = reason, default
        self.id = id_

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """See Framing: raises Undecodable."""
        del value, limits
        raise Undecodable(self._reason)

    def encode(self, result: PredictResult) -> tuple[bytes, Own]:
        """See Framing."""
        return self._codec.encode_result(result), [(CONTENT_TYPE, self._codec.content_type.encode())]

    def is_repeated(self, name: str) -> bool:
        """See Framing: no attribute of an event."""
        return not name.startswith("ce_")


def framing_of(
    record: Record, envelope: Envelope, pick: Pick, default: Codec, limits: Limits, clock: Clock
) -> Framing | None:
    """Return how a record is framed, None where it is its codec's bytes alone."""
    event: BinaryEvent | StructuredEvent
    if is_event_type(envelope.content_type):
        if not is_json_event(envelope.content_type):
            reason = f"events of content type {envelope.content_type!r} are not read; send JSON, one event in a record"
            return Refused(reason, default)
        event = StructuredEvent(record, pick, default, limits, clock)
    else:
        tailed = None if envelope.json_bytes is None else Tailed(envelope.json_bytes)
        if not envelope.is_event:
            return tailed
        event = BinaryEvent(record, tailed or Plain(pick, envelope.content_type, default), clock)
    if is_result_of(event.attributes, record.topic):
        # Answered with an event, it would come back the same way.
        reason = f"a result of this route came back: something copies results to {record.topic}; stop that"
        return Refused(reason, default, event.id)
    return event
