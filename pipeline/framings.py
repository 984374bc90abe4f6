"""How Avro records may say which schema they were written with: docs/schema-registry.md has the bytes."""

from __future__ import annotations

from typing import Final

SINGLE_OBJECT: Final = "single-object"
CONFLUENT: Final = "confluent"
CONFLUENT_HEADER: Final = "confluent-header"
FRAMINGS: Final = (SINGLE_OBJECT, CONFLUENT, CONFLUENT_HEADER)
