"""How the bytes of one request are framed: as an event, with a binary tail; its result is framed alike."""

from __future__ import annotations

from typing import Final, Protocol

from pipeline.clock import Clock
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.codec import Limits
from pipeline.codecs.schemas import MAGIC
from pipeline.codecs.v2_binary import TailedJson
from pipeline.connector import Record
from pipeline.errors import NoInputs, Undecodable
from pipeline.records import PredictRequest, PredictResult
from pipeline.serving.cloud_events import (
    BinaryEvent,
    Own,
    StructuredEvent,
    is_json_event,
    is_result_of,
)
from pipeline.serving.formats import Formats
from pipeline.serving.headers import CONTENT_TYPE, JSON_BYTES, Envelope, is_event_type

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
    """See Framing: a codec alone; which one, is found when the request is read."""

    id = ""

    def __init__(self, formats: Formats, content_type: str) -> None:
        self._formats, self._content_type, self._codec = formats, content_type, formats.default

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """See Framing."""
        self._codec = self._formats.pick(value, self._content_type)
        if not value:
            raise NoInputs(NO_VALUE)
        return self._codec.decode_request(value, limits)

    def encode(self, result: PredictResult) -> tuple[bytes, Own]:
        """See Framing."""
        return self._formats.encode_named(self._codec, result)

    def is_repeated(self, name: str) -> bool:
        """See Framing: all."""
        del name
        return True


class Named:
    """See Framing: Avro without a prefix; a header names its schema, as Confluent's serialisers can."""

    id = ""

    def __init__(self, name: bytes, avro: AvroCodec, formats: Formats) -> None:
        self._name, self._avro, self._formats = name, avro, formats

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """See Framing. Also raises SchemaUnavailable."""
        if not value:
            raise NoInputs(NO_VALUE)
        return self._avro.decode_request_of(self._name, value, limits)

    def encode(self, result: PredictResult) -> tuple[bytes, Own]:
        """See Framing: as the route frames its results."""
        return self._formats.encode_named(self._avro, result)

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

    def __init__(self, reason: str, formats: Formats, id_: str = "") -> None:
        self._reason, self._formats = reason, formats
        self.id = id_

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """See Framing: raises Undecodable."""
        del value, limits
        raise Undecodable(self._reason)

    def encode(self, result: PredictResult) -> tuple[bytes, Own]:
        """See Framing."""
        return self._formats.encode_named(self._formats.default, result)

    def is_repeated(self, name: str) -> bool:
        """See Framing: no attribute of an event."""
        return not name.startswith("ce_")


def framing_of(record: Record, envelope: Envelope, formats: Formats, limits: Limits, clock: Clock) -> Framing | None:
    """Return how a record is framed, None where it is its codec's bytes alone."""
    event: BinaryEvent | StructuredEvent
    if is_event_type(envelope.content_type):
        if not is_json_event(envelope.content_type):
            reason = f"events of content type {envelope.content_type!r} are not read; send JSON, one event in a record"
            return Refused(reason, formats)
        event = StructuredEvent(record, formats.pick, formats.default, limits, clock)
    else:
        data = _data_framing(record.value, envelope, formats)
        if not envelope.is_event:
            return data
        event = BinaryEvent(record, data or Plain(formats, envelope.content_type), clock)
    if is_result_of(event.attributes, record.topic):
        # Answered with an event, it would come back the same way.
        reason = f"a result of this route came back: something copies results to {record.topic}; stop that"
        return Refused(reason, formats, event.id)
    return event


def _data_framing(value: bytes, envelope: Envelope, formats: Formats) -> Tailed | Named | None:
    if envelope.json_bytes is not None:
        return Tailed(envelope.json_bytes)
    avro, name, content_type = formats.avro, envelope.schema_name, envelope.content_type
    if not name or avro is None or not avro.reads_names or value.startswith(MAGIC):
        return None
    return Named(name, avro, formats) if not content_type or content_type.startswith(avro.content_type) else None
