"""What a record's headers say: our names and the aliases that other systems write (docs/protocol.md has the table)."""

from __future__ import annotations

from typing import Final

import msgspec

from pipeline.connector import Headers
from pipeline.errors import Undecodable


class Envelope(msgspec.Struct, gc=False):
    """The meaning of the headers of one request; empty and None where they are silent."""

    content_type: str = ""
    id: str = ""
    servable: str = ""
    version: str = ""
    deadline_ms: int | None = None
    reply_topic: str | None = None
    reply_partition: int | None = None


_TEXT: Final = {
    "content-type": "content_type",
    "x-request-id": "id",
    "ce_id": "id",
    "model": "servable",
    "mlserver-model": "servable",
    "seldon-model": "servable",
    "model-version": "version",
    "mlserver-version": "version",
    "reply_to": "reply_topic",
    "kafka_replyTopic": "reply_topic",
    "Faust-Ag-ReplyTo": "reply_topic",
}
_NUMBERS: Final = ("deadline-ms", "timeout-ms", "reply_partition")
_SPRING_PARTITION: Final = "kafka_replyPartition"  # four bytes, big-endian
_SPRING_BYTES: Final = 4
_LAST_PARTITION: Final = 2**31 - 1
_KNOWN: Final = frozenset((*_TEXT, *_NUMBERS, _SPRING_PARTITION))
# These concern the way to the worker only, so the result does not repeat them.
_REPLY: Final = ("reply_to", "reply_partition", "kafka_replyTopic", "kafka_replyPartition", "Faust-Ag-ReplyTo")
_HOP_LOCAL: Final = frozenset((*_REPLY, "deadline-ms", "timeout-ms", "status", "error-code"))
_EMPTY: Final = Envelope()
_LEAST_BYTES: Final = 8 * 1024


def read(headers: Headers, timestamp_ms: int) -> Envelope:
    """Return what the headers say; raises Undecodable for a known header whose value is not of its kind.

    The first of several headers with one meaning counts. ``timeout-ms`` is relative to the record's timestamp.
    """
    if not headers:
        return _EMPTY
    envelope: Envelope | None = None
    for name, value in headers:
        if name not in _KNOWN or value is None:
            continue
        envelope = envelope or Envelope()
        field = _TEXT.get(name)
        if field is not None:
            if not getattr(envelope, field):
                setattr(envelope, field, _text(name, value))
        elif name == _SPRING_PARTITION:
            envelope.reply_partition = _spring_partition(name, value)
        elif name == "reply_partition":
            # No topic has so many; the caller hears that it does not exist.
            envelope.reply_partition = min(_number(name, value), _LAST_PARTITION)
        else:
            envelope.deadline_ms = _number(name, value) + (timestamp_ms if name == "timeout-ms" else 0)
    return envelope or _EMPTY


def echo(headers: Headers) -> list[tuple[str, bytes | None]]:
    """Return the headers that the result repeats as they came: all but the hop's own and those without a value."""
    return [(name, value) for name, value in headers if name not in _HOP_LOCAL and value is not None]


def least(headers: Headers) -> list[tuple[str, bytes | None]]:
    """Return those headers that fit beside a small result, in order, for one that was refused as too large."""
    kept, left_bytes = [], _LEAST_BYTES
    for name, value in headers:
        size_bytes = len(name.encode()) + len(value or b"")
        if size_bytes <= left_bytes:
            kept.append((name, value))
            left_bytes -= size_bytes
    return kept


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise Undecodable(f"header {name!r} is not UTF-8: {value!r}") from error


def _spring_partition(name: str, value: bytes) -> int | None:
    if len(value) != _SPRING_BYTES:
        raise Undecodable(f"header {name!r} has {len(value)} bytes, expected {_SPRING_BYTES}")
    partition = int.from_bytes(value, "big", signed=True)
    return None if partition < 0 else partition  # Spring's own code writes -1 for "any"


def _number(name: str, value: bytes) -> int:
    text = _text(name, value)
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Undecodable(f"header {name!r} is {text!r}, expected a whole number")
    return int(text)
