"""Whether what one schema writes can be read by another, by Apache Avro's own check. Pure."""

from __future__ import annotations

import avro.errors
import avro.schema
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from pipeline.codecs import schemas


def why_unreadable(reader: avro.schema.Schema, writer: avro.schema.Schema) -> str:
    """Return why records of ``writer`` can not be read by ``reader``, empty where they can."""
    checker = ReaderWriterCompatibilityChecker()  # type: ignore[no-untyped-call]  # the package is typed in part
    found = checker.get_compatibility(reader, writer)
    if found.compatibility is SchemaCompatibilityType.compatible:
        return ""
    kinds = sorted({kind.value.replace("_", " ") for kind in found.incompatibilities})
    return f"{', '.join(kinds)}: {', '.join(sorted(found.messages))}"


def why_not_ours(record: str, reader_text: str) -> str:
    """Return why readers of a schema can not read our ``record``, empty where they can."""
    try:
        reader = avro.schema.parse(reader_text)
    except avro.errors.AvroException as error:
        return f"no Avro schema: {error}"
    return why_unreadable(reader, schemas.schema(record))
