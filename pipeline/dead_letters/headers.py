"""The headers of a dead letter: the request's own, untouched and first, then the reason. Pure.

Ours begin with the error's code, so that everything from its last occurrence on is not the request's. Then comes Spring
Kafka's set or Kafka Connect's, or both, for the tools that read those. Spring writes numbers big-endian, as its Java
converters do; Connect and we write text. No stack trace and no cause: of an error the wire has code and message.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec

from pipeline.connector import Headers, Record, small_headers
from pipeline.errors import BadRequest, kinds
from pipeline.records import Error

CODE: Final = "penstock-error-code"
_MESSAGE: Final = "penstock-error-message"
_RETRIABLE: Final = "penstock-error-retriable"
_ATTEMPTS: Final = "penstock-attempts"
_WORKER: Final = "penstock-worker"
_TIME: Final = "penstock-dead-lettered-at-ms"
_OMITTED: Final = "penstock-value-omitted-bytes"
ATTEMPT: Final = "penstock-attempt"
"""On a request: the how-manieth try it is. Written by a replay; absent on the first."""

_SPRING: Final = "kafka_dlt-"
_CONNECT: Final = "__connect.errors."
# Where an error says more, it is cut: the reason must not be what makes a letter too large.
_MAX_MESSAGE_BYTES: Final = 4096
_TIMESTAMP_TYPES: Final = ("NoTimestampType", "CreateTime", "LogAppendTime")  # as librdkafka numbers them


class Reason(msgspec.Struct, frozen=True):
    """Why a request was put aside, by whom and when.

    ``worker`` is the client id of the route's connector, ``group`` its consumer group; ``timestamp_type`` that of the
    request, as librdkafka numbers it. ``omitted_bytes`` is the size of a value that had to be left out, else None; then
    the request's headers beyond 8 KiB are left out, too.
    """

    error: Error
    worker: str
    group: str
    at_ms: int
    timestamp_type: int = 1
    omitted_bytes: int | None = None


class Letter(msgspec.Struct, frozen=True):
    """What the headers of a dead letter say; ``own`` are the request's. Empty and None where they are silent."""

    own: tuple[tuple[str, bytes | None], ...]
    code: str = ""
    message: str = ""
    retriable: bool = False
    attempts: int = 1
    worker: str = ""
    at_ms: int | None = None
    omitted_bytes: int | None = None
    topic: str = ""
    partition: int | None = None
    offset: int | None = None
    timestamp_ms: int | None = None


def write(record: Record, reason: Reason, sets: str) -> list[tuple[str, bytes | None]]:
    """Return all headers of the dead letter of a request; ``sets`` is ``spring``, ``connect`` or ``both``."""
    message = _cut(reason.error.message)
    own = record.headers if reason.omitted_bytes is None else small_headers(record.headers)
    found = [*own, *_ours(record, reason, message)]
    if sets in ("spring", "both"):
        found += _spring(record, reason, message)
    if sets in ("connect", "both"):
        found += _connect(record, reason, message)
    return found


def read(headers: Headers) -> Letter:
    """Return what the headers of a dead letter say, or Spring's or Connect's where ours are missing; never raises."""
    start = max((place for place, (name, _) in enumerate(headers) if name == CODE), default=None)
    if start is None:
        own = tuple(header for header in headers if not header[0].startswith((_SPRING, _CONNECT)))
        said = {name: value or b"" for name, value in headers if name.startswith((_SPRING, _CONNECT))}
    else:
        own, said = tuple(headers[:start]), {name: value or b"" for name, value in headers[start:]}
    return Letter(
        own,
        _first(said, CODE, f"{_SPRING}exception-fqcn", f"{_CONNECT}exception.class.name"),
        _first(said, _MESSAGE, f"{_SPRING}exception-message", f"{_CONNECT}exception.message"),
        said.get(_RETRIABLE) == b"true",
        _number(said.get(_ATTEMPTS)) or 1,
        _first(said, _WORKER),
        _number(said.get(_TIME)),
        _number(said.get(_OMITTED)),
        _first(said, f"{_SPRING}original-topic", f"{_CONNECT}topic"),
        _place(said, "partition"),
        _place(said, "offset"),
        _integer(said.get(f"{_SPRING}original-timestamp")),
    )


def for_replay(letter: Letter) -> list[tuple[str, bytes | None]]:
    """Return the headers of a request that is tried again: its own, and the how-manieth try it will be."""
    kept = [header for header in letter.own if header[0] != ATTEMPT]
    return [*kept, (ATTEMPT, b"%d" % (letter.attempts + 1))]


def _ours(record: Record, reason: Reason, message: bytes) -> list[tuple[str, bytes | None]]:
    error = reason.error
    is_at_fault = issubclass(kinds().get(error.code, Exception), BadRequest)
    before = max((_number(value) or 1 for name, value in record.headers if name == ATTEMPT), default=1) - 1
    found: list[tuple[str, bytes | None]] = [
        (CODE, error.code.encode()),
        (_MESSAGE, message),
        ("penstock-error-class", b"unprocessable" if is_at_fault else b"failed"),
        (_RETRIABLE, b"true" if error.retriable else b"false"),
        (_ATTEMPTS, b"%d" % (before + max(1, record.kills))),
        (_WORKER, reason.worker.encode()),
        (_TIME, b"%d" % reason.at_ms),
    ]
    if reason.omitted_bytes is not None:
        found.append((_OMITTED, b"%d" % reason.omitted_bytes))
    return found


def _spring(record: Record, reason: Reason, message: bytes) -> list[tuple[str, bytes | None]]:
    return [
        (f"{_SPRING}original-topic", record.topic.encode()),
        (f"{_SPRING}original-partition", struct.pack(">i", record.partition)),
        (f"{_SPRING}original-offset", struct.pack(">q", record.offset)),
        (f"{_SPRING}original-timestamp", struct.pack(">q", record.timestamp_ms)),
        (f"{_SPRING}original-timestamp-type", _TIMESTAMP_TYPES[reason.timestamp_type].encode()),
        (f"{_SPRING}original-consumer-group", reason.group.encode()),
        (f"{_SPRING}exception-fqcn", f"penstock.{reason.error.code}".encode()),
        (f"{_SPRING}exception-message", message),
    ]


def _connect(record: Record, reason: Reason, message: bytes) -> list[tuple[str, bytes | None]]:
    is_decoding = reason.error.code in ("undecodable", "record_too_large")
    return [
        (f"{_CONNECT}topic", record.topic.encode()),
        (f"{_CONNECT}partition", b"%d" % record.partition),
        (f"{_CONNECT}offset", b"%d" % record.offset),
        (f"{_CONNECT}connector.name", reason.group.encode()),
        (f"{_CONNECT}task.id", b"0"),  # a worker reads a route with one consumer
        (f"{_CONNECT}stage", b"VALUE_CONVERTER" if is_decoding else b"TASK_PUT"),
        (f"{_CONNECT}class.name", b"pipeline.codecs" if is_decoding else b"pipeline.serving"),
        (f"{_CONNECT}exception.class.name", f"penstock.{reason.error.code}".encode()),
        (f"{_CONNECT}exception.message", message),
    ]


def _cut(text: str) -> bytes:
    encoded = text.encode(errors="replace")
    if len(encoded) <= _MAX_MESSAGE_BYTES:
        return encoded
    return encoded[: _MAX_MESSAGE_BYTES - 3].decode(errors="ignore").encode() + b"..."


def _first(said: dict[str, bytes], *names: str) -> str:
    return next((said[name].decode(errors="replace") for name in names if said.get(name)), "")


def _number(value: bytes | None) -> int | None:
    return int(value) if value is not None and value.isdigit() and len(value) < 19 else None


def _integer(value: bytes | None) -> int | None:
    return int.from_bytes(value, "big", signed=True) if value and len(value) in (4, 8) else None


def _place(said: dict[str, bytes], what: str) -> int | None:
    spring = _integer(said.get(f"{_SPRING}original-{what}"))
    return _number(said.get(f"{_CONNECT}{what}")) if spring is None else spring
