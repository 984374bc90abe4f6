"""Outgoing: one request on its way out, and by what its answer is known again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

ID_HEADER: Final = "x-request-id"
CLIENT_ID_HEADER: Final = "client-id"


class Outgoing(msgspec.Struct, frozen=True, gc=False):
    """One request on its way out."""

    id: str
    value: bytes
    key: bytes
    headers: Sequence[tuple[str, str | bytes]]


def id_of(headers: Iterable[tuple[str, bytes | None]], key: bytes | None) -> str:
    """Return the request id that a record's header tells, else its key; empty where it has neither. Pure."""
    named = next((value for name, value in headers if name == ID_HEADER and value), None)
    return (named or key or b"").decode(errors="replace")
