"""What a record's headers say, and what the headers of its result are (docs/protocol.md has the table)."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Any, Final

import msgspec

from pipeline.clock import Clock
from pipeline.codecs import confluent
from pipeline.connector import Headers, Record
from pipeline.errors import PenstockError, Undecodable
from pipeline.records import PredictRequest, PredictResult
from pipeline.settings import BINARY_PARTITION, HeaderNames

Header = tuple[str, bytes | None]


class Envelope(msgspec.Struct, frozen=True, gc=False):
    """The meaning of the headers of a request, empty and None where they are silent; requests of a batch may share it.

    ``problem`` is what is wrong with a header that has a meaning; the others count all the same. ``timeout_ms`` counts
    from when the record was written. ``is_framed``: the value may be more than its codec's bytes. ``echoed`` are the
    headers that a result repeats as they came: not those without a value, nor those that concern the way to the worker
    or the bytes of the request.
    """

    content_type: str = ""
    json_bytes: int | None = None
    id: str = ""
    servable: str = ""
    version: str = ""
    deadline_ms: int | None = None
    timeout_ms: int | None = None
    reply_topic: str | None = None
    reply_partition: int | None = None
    is_event: bool = False
    schema_name: bytes | None = None
    problem: PenstockError | None = None
    is_framed: bool = False
    echoed: Sequence[Header] = ()


SILENT: Final = Envelope()
CONTENT_TYPE: Final = "content-type"
JSON_BYTES: Final = "Inference-Header-Content-Length"
SCHEMA_NAME: Final = confluent.HEADER
EVENT: Final = "application/cloudevents"
_SPEC_VERSION: Final = "ce_specversion"  # makes a record a CloudEvent in binary mode
# What a route with ``result_headers: full`` writes on each result; see ``full``.
_MODEL, _VERSION, _DIGEST = "model", "model-version", "model-digest"
_SOURCE: Final = ("source-topic", "source-partition", "source-offset")
_STATUS, _CODE = "status", "error-code"
# These describe the bytes of the request, or its own place, and would be wrong on its result.
_DESCRIBING: Final = (_DIGEST, *_SOURCE, _STATUS, _CODE, "__TypeId__", "__ContentTypeId__", SCHEMA_NAME)
_ON_THE_WAY: Final = ("json_bytes", "deadline_ms", "timeout_ms", "reply_topic", "reply_partition")
_TEXT: Final = frozenset(("content_type", "id", "servable", "version", "reply_topic"))
_DEADLINES: Final = ("deadline_ms", "timeout_ms")  # of several the earliest counts
_LIMITS: Final = {"reply_partition": 2**31, "json_bytes": 2**31, "deadline_ms": 2**62, "timeout_ms": 2**62}
# The least number of digits that may not fit into 64 bits.
_LONG_DIGITS: Final = 19
_OK: Final = (_STATUS, b"ok")
_LONGEST_REMEMBERED: Final = 256


class HeaderTable:
    """The table of one route, by the names that its settings say. Thread-safe."""

    def __init__(self, names: HeaderNames, clock: Clock, content_type: str = "") -> None:
        """``content_type`` is that of records which say nothing of theirs."""
        self._meanings: Final = names.by_name()
        self._clock = clock
        self._content_type = content_type
        passing = [name for name, meaning in self._meanings.items() if meaning in _ON_THE_WAY]
        self._not_repeated: Final = frozenset((*passing, *_DESCRIBING))

    def read(self, headers: Headers) -> Envelope:
        """Return what the headers say; never raises.

        The first of several headers with one meaning counts, of deadlines and of timeouts the earliest; one without a
        value is silent, and so is one with a meaning and an empty value.
        """
        meanings, not_repeated = self._meanings, self._not_repeated
        echoed: list[Header] = []
        said: dict[str, Any] = {"echoed": echoed}
        for header in headers:
            name, value = header
            if value is None:
                continue
            if name not in not_repeated:
                echoed.append(header)
            meaning = meanings.get(name)
            if meaning is None:
                if name == _SPEC_VERSION:
                    said["is_event"] = True
                elif name == SCHEMA_NAME:
                    said.setdefault("schema_name", value)
            elif value:
                try:
                    _note(said, name, meaning, value)
                except Undecodable as problem:
                    said.setdefault("problem", problem.without_frames())
        content_type = said.setdefault("content_type", self._content_type)
        if "json_bytes" in said or "is_event" in said or "schema_name" in said or is_event_type(content_type):
            said["is_framed"] = True
        return Envelope(**said)

    def completed(self, request: PredictRequest, envelope: Envelope, record: Record) -> PredictRequest:
        """Return the request with what its body leaves open taken from its headers, and its id from its key at last."""
        changes: dict[str, object] = {}
        if not request.id:
            changes["id"] = envelope.id or id_of_key(record.key)
        if envelope.servable and not request.servable:
            changes["servable"] = envelope.servable
        if envelope.version and request.version is None and request.label is None:
            # The header holds a number or a label; a number that no version can have is a label that none has.
            number = envelope.version.isascii() and envelope.version.isdigit() and len(envelope.version) < _LONG_DIGITS
            changes["version" if number else "label"] = int(envelope.version) if number else envelope.version
        if request.deadline_ms is None and (envelope.deadline_ms is not None or envelope.timeout_ms is not None):
            changes["deadline_ms"] = self._deadline_ms(envelope, record.timestamp_ms)
        return msgspec.structs.replace(request, **changes) if changes else request

    def _deadline_ms(self, envelope: Envelope, timestamp_ms: int) -> int:
        """Return the earlier of both, where there are both."""
        until_ms = [] if envelope.deadline_ms is None else [envelope.deadline_ms]
        if envelope.timeout_ms is not None:
            # A record was written at its timestamp, or now where it has none or one that is still to come.
            now_ms = self._clock.unix_ms()
            until_ms.append(envelope.timeout_ms + (timestamp_ms if 0 < timestamp_ms < now_ms else now_ms))
        return min(until_ms)


def is_event_type(content_type: str) -> bool:
    """Return whether a content type is that of a CloudEvent in structured mode."""
    return content_type[: len(EVENT)].lower() == EVENT


def id_of_key(key: bytes | None) -> str:
    """Return the id that a key gives to a request without one: its text, or nothing where it is no printable UTF-8."""
    if not key:
        return ""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return ""
    return text if text.isprintable() else ""


def merged(echoed: Iterable[Header], own: Iterable[Header]) -> list[Header]:
    """Return both, without what ``own`` says itself."""
    own = list(own)
    names = {name for name, _ in own}
    return [*[header for header in echoed if header[0] not in names], *own]


def full(result: PredictResult, record: Record) -> list[Header]:
    """Return what a result says about itself besides its bytes: who answered, what, and how it ended."""
    # In an error the servable is the request's word: one as long as a record must not be remembered.
    who = _who if len(result.servable) <= _LONGEST_REMEMBERED else _who.__wrapped__
    own: list[Header] = list(who(result.servable, result.version, result.digest))
    own += _where(record.topic, record.partition)
    own.append((_SOURCE[2], str(record.offset).encode()))
    if result.error is None:
        own.append(_OK)
    return own


def failed(code: str) -> list[Header]:
    """Return what every error result says."""
    return [(_STATUS, b"error"), (_CODE, code.encode())]


# What the results of a batch have in common is made once.


@functools.lru_cache(1024)
def _who(servable: str, version: int | None, digest: str | None) -> tuple[Header, ...]:
    own: list[Header] = [(_MODEL, servable.encode())]
    if version is not None:
        own.append((_VERSION, str(version).encode()))
    if digest is not None:
        own.append((_DIGEST, digest.encode()))
    return tuple(own)


@functools.lru_cache(1024)
def _where(topic: str, partition: int) -> tuple[Header, ...]:
    return (_SOURCE[0], topic.encode()), (_SOURCE[1], str(partition).encode())


def _note(said: dict[str, Any], name: str, meaning: str, value: bytes) -> None:
    """Add the meaning of one header to those of the others; raises Undecodable."""
    if meaning in _DEADLINES:
        number = _number(name, value, _LIMITS[meaning])
        said[meaning] = min(number, said.get(meaning, number))
    elif name == BINARY_PARTITION:
        if len(value) != 4:
            raise Undecodable(f"header {name!r} is {value[:20].hex()}, expected four bytes, big-endian")
        if value[0] < 128:  # Spring's own code writes -1 for "any"
            said.setdefault(meaning, int.from_bytes(value, "big"))
    elif meaning not in said:
        said[meaning] = _text(name, value) if meaning in _TEXT else _number(name, value, _LIMITS[meaning])


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Undecodable(f"header {name!r} is not UTF-8: {value[:100]!r}") from error


def _number(name: str, value: bytes, limit: int) -> int:
    if len(value) < 20 and value.isdigit() and int(value) < limit:
        return int(value)
    raise Undecodable(f"header {name!r} is {value[:100]!r}, expected a whole number below {limit}")
