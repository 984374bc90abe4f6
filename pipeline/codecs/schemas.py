"""The project's Avro schemas: parsed, fingerprinted and resolved by Apache Avro."""

from __future__ import annotations

import functools
import io
import json
from importlib.resources import files
from typing import Any, Final

import avro.errors
import avro.io
import avro.schema

from pipeline.errors import Undecodable

MAGIC: Final = b"\xc3\x01"
PREFIX_BYTES: Final = 10


@functools.cache
def text(name: str) -> str:
    """Return the text of ``schemas/<name>.avsc``."""
    return (files("schemas") / f"{name}.avsc").read_text("utf-8")


@functools.cache
def schema(name: str) -> avro.schema.Schema:
    """Return the parsed schema of a record."""
    return avro.schema.parse(text(name))


@functools.cache
def prefix(name: str) -> bytes:
    """Return the single-object prefix of a record: the magic, then the CRC-64-AVRO fingerprint, little-endian.

    From the Avro specification, section "Single-object encoding".
    """
    return prefix_of(schema(name))


def prefix_of(writer: avro.schema.Schema) -> bytes:
    """Return the single-object prefix for any schema."""
    return MAGIC + bytes(writer.fingerprint("CRC-64-AVRO"))


def encode(name: str, datum: dict[str, Any]) -> bytes:
    """Return one record in single-object framing. For records that are rare: the data path has its own writer."""
    buffer = io.BytesIO()
    buffer.write(prefix(name))
    avro.io.DatumWriter(schema(name)).write(datum, avro.io.BinaryEncoder(buffer))
    return buffer.getvalue()


def decode(name: str, value: bytes) -> dict[str, Any]:
    """Return a record that was written with this very schema; raises Undecodable for anything else."""
    if not value.startswith(prefix(name)):
        raise of_another_schema(name, value)
    return resolve(name, schema(name), value, PREFIX_BYTES)


def of_another_schema(name: str, value: bytes) -> Undecodable:
    """Return what is wrong with a value that has not the prefix of ``name``."""
    return Undecodable(f"it begins with {value[:PREFIX_BYTES].hex()}, and a {name} with {prefix(name).hex()}")


def resolve(name: str, writer: avro.schema.Schema, value: bytes, at: int) -> dict[str, Any]:
    """Return a record that ``writer`` has written, from position ``at`` to the end, by Avro's resolution.

    Raises Undecodable.
    """
    body = io.BytesIO(value)
    body.seek(at)
    try:
        datum = avro.io.DatumReader(writer, schema(name)).read(avro.io.BinaryDecoder(body))
    except avro.errors.SchemaResolutionException as error:  # its further lines are both schemas
        wrote = getattr(writer, "fullname", writer.type)
        reason = f"it was written as {wrote}, which does not resolve: {str(error).partition(chr(10))[0]}"
        raise Undecodable(f"not a {name}: {reason}") from error
    except Exception as error:  # the schema is somebody else's: whatever reading by it raises
        raise Undecodable(f"not a {name}: {type(error).__name__}: {error}") from error
    if body.tell() != len(value):
        raise Undecodable(f"not a {name}: {len(value) - body.tell()} bytes follow the record")
    if not isinstance(datum, dict):
        raise Undecodable(f"not a {name}: {json.dumps(str(datum))}")
    return datum
