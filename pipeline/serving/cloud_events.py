"""CloudEvents on Kafka (binding 1.0.2): a request that is an event has an event as its result, in the same mode.

In binary mode the attributes are headers and the value is the data; in structured mode the value is an event in JSON.
The result is an event of its own: its source is the route and its id the place of the request, so that the results of
a request that was answered twice are one event to whoever compares source and id, as the specification asks.
"""

from __future__ import annotations

import base64
import binascii
import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec

from pipeline.clock import Clock
from pipeline.codecs.codec import Codec, Limits
from pipeline.connector import Headers, Record
from pipeline.errors import NoInputs, RecordTooLarge, Undecodable
from pipeline.records import PredictRequest, PredictResult
from pipeline.serving.headers import CONTENT_TYPE, Header

RESULT_TYPE: Final = "penstock.result"
ERROR_TYPE: Final = "penstock.error"
_JSON: Final = "application/cloudevents+json"
_PREFIX: Final = "ce_"
# The attributes that say of an event what it is, where it comes from and when: a result has its own, or none.
_OWN: Final = ("specversion", "id", "source", "type", "time", "causationid")
_OF_THE_REQUEST: Final = frozenset(
    (*_OWN, "data", "data_base64", "datacontenttype", "dataschema", "dataref", "dssematerial", "expirytime",
     "recordedtime", "sampledrate", "sequence", "sequencetype")
)  # fmt: skip
_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])

# Finds the codec of data by its content type, else by its first bytes; raises Undecodable.
Pick = Callable[[bytes, str], Codec]
Own = list[Header]


class Data(Protocol):
    """What reads the data of an event and writes that of its result; see Framing."""

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """Return the request in the data."""
        ...

    def encode(self, result: PredictResult) -> tuple[bytes, Own]:
        """Return the data of the result, and the headers that describe it."""
        ...


class BinaryEvent:
    """See Framing: a request whose attributes are headers."""

    def __init__(self, record: Record, data: Data, clock: Clock) -> None:
        self._record, self._data, self._clock = record, data, clock
        self.attributes = _from_headers(record.headers)
        self.id = self.attributes.get("id", "")

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """See Framing."""
        check(self.attributes)
        return with_expiry(self._data.decode_request(value, limits), self.attributes)

    def encode(self, result: PredictResult) -> tuple[bytes, Own]:
        """See Framing."""
        value, own = self._data.encode(result)
        said = result_attributes(self.attributes, self._record, result, self._clock.unix_ms())
        return value, [*own, *[(f"{_PREFIX}{name}", text.encode()) for name, text in said.items()]]

    def is_repeated(self, name: str) -> bool:
        """See Framing."""
        return not (name.startswith(_PREFIX) and name.removeprefix(_PREFIX) in _OF_THE_REQUEST)


class StructuredEvent:
    """See Framing: a request that is an event in JSON."""

    def __init__(self, record: Record, pick: Pick, default: Codec, limits: Limits, clock: Clock) -> None:
        self._record, self._codec, self._clock = record, default, clock
        self.attributes: dict[str, Any] = {}
        self._value = b""
        self._problem: RecordTooLarge | Undecodable | None = None
        self.id = ""
        try:
            self._open(pick, limits)
        except (RecordTooLarge, Undecodable) as problem:
            self._problem = problem.without_frames()

    def decode_request(self, value: bytes, limits: Limits) -> PredictRequest:
        """See Framing."""
        del value  # opened already
        if self._problem is not None:
            raise self._problem
        if not self._value:
            raise NoInputs("the event has no data")
        return with_expiry(self._codec.decode_request(self._value, limits), self.attributes)

    def encode(self, result: PredictResult) -> tuple[bytes, Own]:
        """See Framing."""
        event: dict[str, Any] = dict(result_attributes(self.attributes, self._record, result, self._clock.unix_ms()))
        event |= {name: item for name, item in self.attributes.items() if name not in _OF_THE_REQUEST}
        data = self._codec.encode_result(result)
        event["datacontenttype"] = self._codec.content_type
        if _is_json(self._codec.content_type):
            event["data"] = msgspec.Raw(data)
        else:
            event["data_base64"] = base64.b64encode(data).decode()
        return msgspec.json.encode(event), [(CONTENT_TYPE, _JSON.encode())]

    def is_repeated(self, name: str) -> bool:
        """See Framing: headers may tell the attributes of the request once more."""
        return not name.startswith(_PREFIX)

    def _open(self, pick: Pick, limits: Limits) -> None:
        size_bytes = len(self._record.value)
        if size_bytes > limits.max_record_bytes:
            raise RecordTooLarge(size_bytes, limits.max_record_bytes)
        members = _parse(self._record.value)
        self.attributes = {name: _attribute(name, raw) for name, raw in members.items() if not name.startswith("data")}
        self.id = str(self.attributes.get("id", ""))
        content_type = str(_attribute("datacontenttype", members.get("datacontenttype", msgspec.Raw(b'""'))))
        self._value, content_type = _data(members, content_type)
        self._codec = pick(self._value, content_type)
        check(self.attributes)


def source_of(request_topic: str) -> str:
    """Return the source of the results of a request topic; with the id it names one event."""
    return f"/penstock/{request_topic}"


def result_attributes(
    attributes: Mapping[str, Any], record: Record, result: PredictResult, now_ms: int
) -> dict[str, str]:
    """Return the attributes that the result of a request has of its own. Pure."""
    said = {
        "specversion": "1.0",
        "id": f"{record.partition}-{record.offset}",
        "source": source_of(record.topic),
        "type": RESULT_TYPE if result.error is None else ERROR_TYPE,
        "time": dt.datetime.fromtimestamp(now_ms / 1000, dt.UTC).isoformat().replace("+00:00", "Z"),
    }
    if attributes.get("id"):
        said["causationid"] = str(attributes["id"])  # of CloudEvents' correlation extension
    return said


def is_json_event(content_type: str) -> bool:
    """Return whether a content type is that of one event in JSON, the only event format that is understood."""
    return content_type.partition(";")[0].strip().lower() == _JSON


def is_result_of(attributes: Mapping[str, Any], request_topic: str) -> bool:
    """Return whether an event is a result of the route that reads this topic."""
    return attributes.get("source") == source_of(request_topic) and attributes.get("type") in (RESULT_TYPE, ERROR_TYPE)


def check(attributes: Mapping[str, Any]) -> None:
    """Raise Undecodable for an event that lacks what every event has."""
    version = str(attributes.get("specversion", ""))
    if not version.startswith("1."):
        raise Undecodable(f"a CloudEvent of version {version!r}, expected specversion 1.0")
    missing = [name for name in ("id", "source", "type") if not attributes.get(name)]
    if missing:
        raise Undecodable(f"a CloudEvent without {' and '.join(missing)}")


def with_expiry(request: PredictRequest, attributes: Mapping[str, Any]) -> PredictRequest:
    """Return the request with the deadline that the extension ``expirytime`` sets, where its body sets none."""
    text = attributes.get("expirytime")
    if not text or request.deadline_ms is not None:
        return request
    try:
        at = dt.datetime.fromisoformat(str(text))
    except ValueError:
        raise Undecodable(f"expirytime of the CloudEvent is {text!r}, expected a time as in RFC 3339") from None
    at = at if at.tzinfo else at.replace(tzinfo=dt.UTC)
    return msgspec.structs.replace(request, deadline_ms=int(at.timestamp() * 1000))


def _from_headers(headers: Headers) -> dict[str, str]:
    """Return the attributes that headers tell; the first counts, and bytes that are no UTF-8 are replaced."""
    found: dict[str, str] = {}
    for name, value in headers:
        if name.startswith(_PREFIX) and value:
            found.setdefault(name.removeprefix(_PREFIX), value.decode(errors="replace"))
    return found


def _parse(value: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _members.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"not a CloudEvent in JSON: {error}") from error


def _attribute(name: str, raw: msgspec.Raw) -> str | int | bool | None:
    try:
        return msgspec.json.decode(raw, type=str | int | bool | None)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise Undecodable(f"attribute {name!r} of the CloudEvent is not text, an integer or true or false") from None


def _data(members: Mapping[str, msgspec.Raw], content_type: str) -> tuple[bytes, str]:
    """Return the data of an event and its content type; data without one is JSON, as the JSON format says."""
    encoded = members.get("data_base64")
    if encoded is not None:
        try:
            text = msgspec.json.decode(encoded, type=str)
            return base64.b64decode(text, validate=True), content_type
        except (msgspec.MsgspecError, binascii.Error, ValueError) as error:
            raise Undecodable(f"data_base64 of the CloudEvent is not base64: {error}") from error
    return bytes(members.get("data", b"")), content_type or "application/json"


def _is_json(content_type: str) -> bool:
    return content_type.endswith(("/json", "+json"))
