"""A real Kafka with TLS, SASL and ACLs, and what a test needs to talk to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from pipeline.local.kafka import LocalKafka
from tests.security.certificates import Authority

PASSWORD = "canary-the-right-password"  # of every user, SCRAM and PLAIN
USERS = ("worker", "watcher", "client", "creator", "late")

_PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule required {};"
_SCRAM = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
_OAUTH = (
    "org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required "
    'unsecuredLoginStringClaim_sub="broker";'
)
# More than one test of this run needs a principal's name as Kafka has it.
CERTIFICATE_USER = "User:CN=worker-by-certificate"


class SecuredKafka:
    """Listeners: ``SASL`` (TLS with PLAIN, SCRAM or OAUTHBEARER), ``MTLS`` (a client certificate is required).

    Nobody may do anything without an ACL, but for ``admin``, who comes without TLS and password.
    """

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder, "authority")
        self.stranger = Authority(folder, "stranger")
        broker, broker_key = self.authority.issue("broker", hosts=("127.0.0.1",))
        other, other_key = self.authority.issue("other-host", hosts=("kafka.example",))
        (folder / "broker.pem").write_bytes(broker_key.read_bytes() + broker.read_bytes())
        (folder / "other.pem").write_bytes(other_key.read_bytes() + other.read_bytes())
        self.certificate, self.key = self.authority.issue("worker-by-certificate")
        logins = " ".join(f'user_{user}="{PASSWORD}"' for user in USERS)
        tls = {"ssl.keystore.type": "PEM", "ssl.truststore.type": "PEM",
               "ssl.truststore.location": str(self.authority.ca)}  # fmt: skip
        properties = {
            **_of("mtls", {**tls, "ssl.keystore.location": str(folder / "broker.pem"), "ssl.client.auth": "required"}),
            **_of("sasl", {**tls, "ssl.keystore.location": str(folder / "broker.pem")}),
            **_of("otherhost", {**tls, "ssl.keystore.location": str(folder / "other.pem")}),
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512,OAUTHBEARER",
            **_of("sasl.plain", {"sasl.jaas.config": _PLAIN.format(logins)}),
            **_of("sasl.scram-sha-256", {"sasl.jaas.config": _SCRAM}),
            **_of("sasl.scram-sha-512", {"sasl.jaas.config": _SCRAM}),
            **_of("sasl.oauthbearer", {"sasl.jaas.config": _OAUTH}),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
        }
        self.local = LocalKafka(
            folder / "kafka",
            properties=properties,
            listeners={"SASL": "SASL_SSL", "MTLS": "SSL", "OTHERHOST": "SSL"},
            start_timeout_s=100.0,
        )

    def start(self) -> None:
        """Start it, with every user; blocks."""
        self.local.start()
        self._admin = AdminClient({"bootstrap.servers": self.local.bootstrap})
        for mechanism in (ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512):  # one of a user in one request
            self.set_passwords(USERS, PASSWORD, mechanism)

    def set_passwords(self, users: Iterable[str], password: str, mechanism: ScramMechanism) -> None:
        """Give users a password."""
        info = ScramCredentialInfo(mechanism, 4096)
        alterations = [UserScramCredentialUpsertion(user, info, password.encode()) for user in users]
        for future in self._admin.alter_user_scram_credentials(alterations).values():
            future.result(30)

    def stop(self) -> None:
        """Kill it."""
        self.local.kill()

    @property
    def admin(self) -> Mapping[str, Any]:
        """Properties of a client that may do everything."""
        return {"bootstrap.servers": self.local.bootstrap}

    def as_user(self, user: str, mechanism: str = "SCRAM-SHA-256", password: str = PASSWORD) -> dict[str, Any]:
        """Properties of a client with TLS and a password."""
        return {
            "bootstrap.servers": self.local.address("SASL"),
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.authority.ca),
            "sasl.mechanisms": mechanism,
            "sasl.username": user,
            "sasl.password": password,
        }

    def by_certificate(self) -> dict[str, Any]:
        """Properties of a client with a certificate."""
        return {
            "bootstrap.servers": self.local.address("MTLS"),
            "security.protocol": "SSL",
            "ssl.ca.location": str(self.authority.ca),
            "ssl.certificate.location": str(self.certificate),
            "ssl.key.location": str(self.key),
        }

    def by_token(self) -> dict[str, Any]:
        """Properties of a client with TLS that shows tokens; where it has them from is left to the test."""
        return {
            "bootstrap.servers": self.local.address("SASL"),
            "security.protocol": "SASL_SSL",
            "ssl.ca.location": str(self.authority.ca),
            "sasl.mechanisms": "OAUTHBEARER",
        }

    def allow(self, principal: str, acls: Iterable[tuple[str, str, str]]) -> None:
        """Add ACLs: (resource type, name, operation) in the words of ``kafka-acls``."""
        for future in self._admin.create_acls([_binding(principal, *acl) for acl in acls]).values():
            future.result(30)

    def forbid(self, principal: str, acls: Iterable[tuple[str, str, str]]) -> None:
        """Take ACLs away again."""
        filters = [_filter(principal, *acl) for acl in acls]
        for future in self._admin.delete_acls(filters).values():
            assert future.result(30), "there was no such ACL"

    def forbid_all(self, principal: str) -> None:
        """Take every ACL of a principal away."""
        everything = AclBindingFilter(
            ResourceType.ANY, None, ResourcePatternType.ANY, principal, None, AclOperation.ANY, AclPermissionType.ANY
        )
        for future in self._admin.delete_acls([everything]).values():
            future.result(30)


def _of(listener: str, settings: Mapping[str, str]) -> dict[str, str]:
    return {f"listener.name.{listener}.{name}": value for name, value in settings.items()}


_TYPES = {
    "topic": ResourceType.TOPIC,
    "group": ResourceType.GROUP,
    "transactional-id": ResourceType.TRANSACTIONAL_ID,
}


def _operation(name: str) -> AclOperation:
    words = "".join(f"_{letter}" if letter.isupper() else letter for letter in name).strip("_")
    return AclOperation[words.upper()]


def _pattern(kind: str, name: str) -> tuple[ResourceType, str, ResourcePatternType]:
    """A name that ends with a star stands for all that begin so."""
    is_prefix = name.endswith("*")
    return _TYPES[kind], name.rstrip("*"), ResourcePatternType.PREFIXED if is_prefix else ResourcePatternType.LITERAL


def _binding(principal: str, kind: str, name: str, operation: str) -> AclBinding:
    return AclBinding(*_pattern(kind, name), principal, "*", _operation(operation), AclPermissionType.ALLOW)


def _filter(principal: str, kind: str, name: str, operation: str) -> AclBindingFilter:
    return AclBindingFilter(*_pattern(kind, name), principal, "*", _operation(operation), AclPermissionType.ALLOW)
