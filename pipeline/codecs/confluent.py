"""Confluent's framing of records: which schema wrote one is told by five or seventeen bytes, before it or in a header.

A zero and a registry's four-byte id, big-endian; or a one and the sixteen bytes of the schema's GUID. Before the record
(the id, as nearly everybody does), or as the value of the header ``__value_schema_id`` (the GUID, as newer serialisers
can). Those bytes are the *name* of a schema here. Pure.
"""

from __future__ import annotations

import uuid
from typing import Final, Protocol

import avro.schema
import msgspec

from pipeline.errors import Undecodable

HEADER: Final = "__value_schema_id"
_BY_ID: Final = b"\0"
_BY_GUID: Final = b"\1"
ID_BYTES: Final = 5
GUID_BYTES: Final = 17
_SIZES: Final = {_BY_ID: ID_BYTES, _BY_GUID: GUID_BYTES}


class WriterSchema(msgspec.Struct, frozen=True):
    """A schema that a record was written with; ``prefix`` is its single-object prefix, equal where the schemas are."""

    prefix: bytes
    schema: avro.schema.Schema


class WriterSchemas(Protocol):
    """The schemas that names stand for. Any thread may call it."""

    def find(self, name: bytes) -> WriterSchema:
        """Return the schema of a name, without ever waiting.

        Raises SchemaUnavailable where it is not known yet, Undecodable where it is known to be none.
        """
        ...


def leads(value: bytes) -> bool:
    """Return whether the first byte of a record is that of a name."""
    return value[:1] in _SIZES


def name_before(value: bytes) -> bytes:
    """Return the name that a record begins with; raises Undecodable."""
    size = _SIZES.get(value[:1], 0)
    if not size or len(value) < size:
        raise Undecodable(f"its first bytes, {value[:GUID_BYTES].hex() or 'none'}, name no schema")
    return value[:size]


def name_in_header(value: bytes) -> bytes:
    """Return the name that a header holds; raises Undecodable."""
    if len(value) != _SIZES.get(value[:1]):
        raise Undecodable(f"header {HEADER!r} is {value[:20].hex()}, expected 01 and a GUID, or 00 and an id")
    return value


def of_id(schema_id: int) -> bytes:
    """Return the name of a registry's id."""
    return _BY_ID + schema_id.to_bytes(4, "big")


def of_guid(guid: str) -> bytes:
    """Return the name of a GUID."""
    return _BY_GUID + uuid.UUID(guid).bytes


def id_of(name: bytes) -> int | None:
    """Return the id that a name tells, None where it is a GUID."""
    return int.from_bytes(name[1:], "big") if name[:1] == _BY_ID else None


def guid_of(name: bytes) -> str:
    """Return the GUID that a name tells."""
    return str(uuid.UUID(bytes=name[1:]))


def text(name: bytes) -> str:
    """Return a name for people."""
    schema_id = id_of(name)
    return f"GUID {guid_of(name)}" if schema_id is None else f"id {schema_id}"
