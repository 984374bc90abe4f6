"""One request as it stands on a topic or in a stream: ``uri`` (its id), ``data``, and how the data is written."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from pipeline.errors import Undecodable


class Entry(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """``data`` is base64 of Arrow; with ``serde`` ``stream`` it is JSON instead, as a JVM front end writes it."""

    uri: str | int
    data: str
    serde: str | None = None


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
