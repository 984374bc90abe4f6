"""Acl: one permission that a principal needs, and the error that says it is missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from pipeline.errors import AccessDenied
from pipeline.kafka_properties import Scalar, address_of

ResourceType = Literal["topic", "group", "transactional-id", "cluster"]
Operation = Literal["Read", "Write", "Describe", "DescribeConfigs", "Create", "Alter", "AlterConfigs"]

_UNKNOWN: Final = "User:<principal>"


class Acl(msgspec.Struct, frozen=True, order=True):
    """An operation on a resource, in the words of Kafka's own tool. ``name`` is empty for the cluster.

    ``is_prefix``: on all resources whose name begins so.
    """

    resource_type: ResourceType
    name: str
    operation: Operation
    is_prefix: bool = False

    def __str__(self) -> str:
        """Return it as people say it: Write on topic x."""
        name = f"{self.name}*" if self.is_prefix else self.name
        return f"{self.operation} on {' '.join(part for part in (self.resource_type, name) if part)}"

    def command(self, principal: str, bootstrap: str) -> str:
        """Return the command that an administrator runs to add it."""
        resource = f"--{self.resource_type} {self.name}".strip()
        if self.is_prefix:
            resource += " --resource-pattern-type prefixed"
        return (
            f"kafka-acls.sh --bootstrap-server {bootstrap} --command-config admin.properties --add "
            f"--allow-principal {principal} --operation {self.operation} {resource}"
        )


def principal_of(kafka: Mapping[str, Scalar]) -> str:
    """Return who this client is to the broker; a placeholder where the broker alone knows (certificates, tokens)."""
    mechanism = str(kafka.get("sasl.mechanisms", kafka.get("sasl.mechanism", "")))
    is_sasl = str(kafka.get("security.protocol", "")).upper().startswith("SASL")
    if is_sasl and mechanism.upper().startswith(("PLAIN", "SCRAM")) and kafka.get("sasl.username"):
        return f"User:{kafka['sasl.username']}"
    return "User:ANONYMOUS" if str(kafka.get("security.protocol", "")).upper() in ("", "PLAINTEXT") else _UNKNOWN


def denied(kafka: Mapping[str, Scalar], acl: Acl) -> AccessDenied:
    """Return the error of a client that lacks ``acl``. Pure."""
    principal = principal_of(kafka)
    what = f"{acl.resource_type} {acl.name}".strip()
    quoted = f"'{principal}'" if "<" in principal else principal
    reason = f"{principal} lacks the ACL {acl}; add it with: {acl.command(quoted, address_of(kafka))}"
    return AccessDenied(what, reason, principal, acl.operation, acl.resource_type, acl.name)
