"""What an entry of a stream says, and where the result of a request is: shared by clients and the connector. Pure.

An entry has the fields ``value`` and, where it has one, ``key``, both the request's own bytes; every other field is a
header, its value bytes. A result has the same form; as a hash it stands at ``<result topic>:<key>``, or
``<result topic>:<id of the entry>`` where the request has no key, and has no field ``key``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

VALUE: Final = b"value"
KEY: Final = b"key"
_REPLIES: Final = "@"
# ARGV: how many may wait, and the fields of an entry.
_BOUNDED: Final = """
if redis.call('XLEN', KEYS[1]) >= tonumber(ARGV[1]) then
  return redis.error_reply('FULL ' .. ARGV[1] .. ' requests wait in the stream')
end
return redis.call('XADD', KEYS[1], '*', unpack(ARGV, 2))
"""

Headers = Iterable[tuple[str, bytes | None]]


def fields_of(value: bytes, key: bytes | None, headers: Headers) -> list[bytes]:
    """Return names and values in turns, as XADD and HSET take them; headers without a value are left out."""
    fields = [VALUE, value] if key is None else [VALUE, value, KEY, key]
    for name, text in headers:
        if text is not None:
            fields += (name.encode(), text)
    return fields


def read(fields: Sequence[bytes]) -> tuple[bytes, bytes | None, list[tuple[str, bytes]], str]:
    """Return value, key, headers, and why the entry can not be read; that is empty where it can.

    The value is empty where there is none. Never raises.
    """
    value: bytes | None = None
    key: bytes | None = None
    headers: list[tuple[str, bytes]] = []
    fault = ""
    for name, text in zip(fields[::2], fields[1::2], strict=False):
        if name == VALUE and value is None:
            value = text
        elif name == KEY and key is None:
            key = text
        elif name in (VALUE, KEY):
            fault = fault or f"the field {name.decode()} stands twice in the entry"
        else:
            try:
                headers.append((name.decode(), text))
            except UnicodeDecodeError:
                fault = fault or f"the name of the field {name[:100]!r} is not UTF-8"
    return value or b"", key, headers, fault


def append(topic: str, fields: Iterable[Any], max_length: int) -> Sequence[Any]:
    """Return the command that appends a request, names and values in turns, unless ``max_length`` (0: any) wait."""
    if max_length:
        return ("EVAL", _BOUNDED, 1, topic, max_length, *fields)
    return ("XADD", topic, "*", *fields)


def why_full(said: str) -> str:
    """Return why a request was not appended, where the server says that too many wait; else nothing."""
    if not said.startswith("FULL"):
        return ""
    return f"{said.partition(' ')[2]}, as many as max_length lets; try again when some are answered"


def reply_stream(topic: str, client_id: str) -> str:
    """Return the stream on which a client hears its answers; no hash of a result has such a key.

    It is there as long as its client is: answers are appended to one that exists, and to no other.
    """
    return f"{topic}{_REPLIES}{client_id}"


def is_reply_stream(stream: str, topic: str) -> bool:
    """Whether this is the stream of a client of a route with this result topic."""
    return stream.startswith(f"{topic}{_REPLIES}")


def result_key(topic: str, key: bytes | None, entry_id: bytes) -> bytes:
    """Return where the hash of a result is, for the entry that XADD has given this id."""
    return b"%b:%b" % (topic.encode(), key or entry_id)
