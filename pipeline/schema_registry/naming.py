"""By which name a registry knows one of our schemas, so that records can be framed with it."""

from __future__ import annotations

from typing import Final

from pipeline.codecs import confluent, schemas
from pipeline.codecs.avro_framing import AvroFraming
from pipeline.errors import ConnectorError
from pipeline.framings import CONFLUENT
from pipeline.schema_registry.client import Registered, RegistryClient
from pipeline.schema_registry.normal_form import is_ours

REGISTER_STEP: Final = "register schemas/{record}.avsc there, or set schema_registry.auto_register"


def name_schema(
    registry: RegistryClient, subject: str, record: str, framing: AvroFraming, *, auto_register: bool
) -> None:
    """Have ``framing`` use the name that our schema of ``record`` has in a subject.

    Registers it there where that is set. Blocks for some answers of the registry. Raises ConnectorError where it does
    not answer, does not have our schema, or has no name of the kind that the framing needs.
    """
    found = _registered(registry, subject, record, auto_register=auto_register)
    if found is None:
        step = REGISTER_STEP.format(record=record)
        raise ConnectorError(registry.where, f"subject {subject} has no schema that writes a {record} as we do; {step}")
    if framing.kind == CONFLUENT:
        if found.schema_id is None:
            raise ConnectorError(registry.where, f"it tells no id of the schema in subject {subject}")
        framing.learn(confluent.of_id(found.schema_id))
        return
    if found.guid is None:
        found = registry.lookup(subject, found.text) or found  # older ones answer a registration with the id alone
    if found.guid is None:
        reason = f"it tells no GUID of the schema in subject {subject}, as older ones do not; frame as {CONFLUENT}"
        raise ConnectorError(registry.where, reason)
    framing.learn(b"", ((confluent.HEADER, confluent.of_guid(found.guid)),))


def _registered(registry: RegistryClient, subject: str, record: str, *, auto_register: bool) -> Registered | None:
    text = schemas.text(record)
    if auto_register:
        return registry.register(subject, text)
    found = registry.lookup(subject, text)
    if found is not None:
        return found
    # It may have been registered in other words, without our comments for instance.
    latest = registry.version(subject)
    return latest if latest is not None and is_ours(latest.text, record) else None
