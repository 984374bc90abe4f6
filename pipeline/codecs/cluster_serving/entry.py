"""One request as it stands on a topic or in a stream: ``uri`` (its id), ``data``, and how the data is written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from pipeline.errors import Undecodable


class Entry(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """``data`` is base64 of Arrow; with ``serde`` ``stream`` it is JSON instead, as a JVM front end writes it."""

    uri: str | int
    data: str
    serde: str | None = None


# What ``serde`` is where the data is JSON.
STREAM: Final = "stream"
URI: Final = b"uri"
_DATA, _SERDE = b"data", b"serde"
_entries: Final = msgspec.json.Decoder(Entry)
_fields: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder: Final = msgspec.json.Encoder()


def read(value: bytes) -> Entry:
    """Return the entry that a JSON object is; raises Undecodable."""
    try:
        return _entries.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Undecodable(f"not an entry of Cluster Serving, an object with 'uri' and 'data': {error}") from error


def write(entry: Entry) -> bytes:
    """Return the JSON object that an entry is."""
    return _encoder.encode(entry)


def of_fields(fields: Sequence[bytes]) -> tuple[bytes, bytes | None, list[tuple[str, bytes]], str]:
    """Return value, key, headers of an entry of a stream (names and values in turns), and why it can not be read.

    The value is the JSON object that the same request would be on a topic, the key its ``uri``, and fields that are not
    theirs are headers. Never raises.
    """
    found = dict(zip(reversed(fields[::2]), reversed(fields[1::2]), strict=False))  # of two, the first counts
    uri, data, serde = (found.pop(name, None) for name in (URI, _DATA, _SERDE))
    if uri is None or data is None:
        return b"", uri, [], f"the entry has no field {(_DATA if data is None else URI).decode()}"
    try:
        value = write(Entry(uri.decode(), data.decode(), None if serde is None else serde.decode()))
        return value, uri, [(name.decode(), text) for name, text in found.items()], ""
    except UnicodeDecodeError as error:
        return b"", uri, [], f"a field of the entry is not UTF-8: {error}"


def uri_of(value: bytes, key: bytes | None) -> str:
    """Return whose request this is, as well as a broken one tells: by its value, else by its key, else "".

    The key is the uri as JSON; one that is no JSON is taken as it is. Never raises.
    """
    found: Any = None
    try:
        found = msgspec.json.decode(_fields.decode(value).get("uri", b"null"))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = _plain(key or b"")
    return str(found) if isinstance(found, str | int) and not isinstance(found, bool) else ""


def _plain(key: bytes) -> Any:
    try:
        return msgspec.json.decode(key)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        text = key.decode(errors="replace")
        return text if text.isprintable() else ""
