"""The records of the wire by fastavro and ``schemas/`` alone: what ours writes is checked by another's code."""

from __future__ import annotations

import io
import json
from importlib.resources import files
from typing import Any, Final, cast

import avro.schema
import fastavro

PREFIX_BYTES: Final = 10
Datum = dict[str, Any]


class AvroRecord:
    """One record type in single-object framing."""

    def __init__(self, name: str) -> None:
        text = (files("schemas") / f"{name}.avsc").read_text("utf-8")
        self.prefix: Final = b"\xc3\x01" + bytes(avro.schema.parse(text).fingerprint("CRC-64-AVRO"))
        self._schema = fastavro.parse_schema(json.loads(text))

    def encode(self, datum: Datum) -> bytes:
        """Return the bytes of a record; fields that are left out get their defaults."""
        buffer = io.BytesIO()
        buffer.write(self.prefix)
        fastavro.schemaless_writer(buffer, self._schema, datum)
        return buffer.getvalue()

    def is_of(self, value: bytes | None) -> bool:
        """Whether the bytes say that they are such a record."""
        return value is not None and value.startswith(self.prefix)

    def decode(self, value: bytes | None) -> Datum:
        """Return the record; ValueError for bytes of another one."""
        if value is None or not self.is_of(value):
            raise ValueError(f"expected a record with the prefix {self.prefix.hex()}, got {value!r:.40}")
        buffer = io.BytesIO(value)
        buffer.seek(PREFIX_BYTES)
        return cast("Datum", fastavro.schemaless_reader(buffer, self._schema, None))
