"""Where a client sends to, where it hears from, and who it is."""

from __future__ import annotations

import os
import secrets
import socket
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from pipeline.errors import InvalidSettings
from pipeline.framings import FRAMINGS, SINGLE_OBJECT
from pipeline.kafka_properties import Scalar
from pipeline.redaction import redacted
from pipeline.redis_address import is_redis

if TYPE_CHECKING:
    from pipeline.client.redis.place import RedisPlace
    from pipeline.settings import SchemaRegistrySettings

# A URL, or what the settings' section of that name holds.
Registry = str | Mapping[str, Any]


class Address(msgspec.Struct, frozen=True):
    """Two queues with equal addresses in one process share one connection.

    ``kafka``: librdkafka properties, sorted; empty where ``redis`` says that it is at a Redis.
    """

    request_topic: str
    result_topic: str
    client_id: str
    kafka: tuple[tuple[str, Scalar], ...] = ()
    redis: RedisPlace | None = None
    schema_registry: SchemaRegistrySettings | None = None
    framing: str = SINGLE_OBJECT

    def __repr__(self) -> str:
        return f"Address({self.request_topic!r}, {self.result_topic!r}, {self.client_id!r}, {self._broker()})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # what rich prints instead of the repr
        return [("broker", self._broker())]

    @property
    def place(self) -> str:
        """The broker, as messages name it."""
        return f"kafka at {dict(self.kafka)['bootstrap.servers']}" if self.redis is None else self.redis.place

    def _broker(self) -> Any:
        return redacted(dict(self.kafka) if self.redis is None else msgspec.to_builtins(self.redis))

    @classmethod
    def of(
        cls,
        route: str,
        client_id: str,
        kafka: Mapping[str, Scalar],
        bootstrap: str | None = None,
        request_topic: str | None = None,
        result_topic: str | None = None,
        redis: Mapping[str, Any] | None = None,
        max_length: int = 0,
        schema_registry: Registry = "",
        framing: str = SINGLE_OBJECT,
    ) -> Address:
        """Return the address of a route; topics default to ``<route>.requests`` and ``<route>.results``.

        It is at a Redis where ``bootstrap`` is a URL of one, or ``redis`` has one and ``bootstrap`` and ``kafka`` have
        no address. Raises InvalidSettings.
        """
        registry = _registry_of(schema_registry, framing)
        requests, results = request_topic or f"{route}.requests", result_topic or f"{route}.results"
        url = (bootstrap if bootstrap is not None and is_redis(bootstrap) else "") or _url(redis, bootstrap, kafka)
        if url:
            from pipeline.client.redis.place import RedisPlace  # noqa: PLC0415  # reads settings, for this alone

            place = RedisPlace.of({**(redis or {}), "url": url}, max_length)
            return cls(requests, results, client_id, (), place, registry, framing)
        # librdkafka's own log has a line for every attempt to connect; what it says comes by its error callback too.
        properties: dict[str, Scalar] = {"bootstrap.servers": "localhost:9092", "log_level": 2, **kafka}
        if bootstrap is not None:
            properties["bootstrap.servers"] = bootstrap.removeprefix("kafka://")
        return cls(requests, results, client_id, tuple(sorted(properties.items())), None, registry, framing)


def _url(redis: Mapping[str, Any] | None, bootstrap: str | None, kafka: Mapping[str, Scalar]) -> str:
    is_kafka = bootstrap is not None or "bootstrap.servers" in kafka
    return "" if is_kafka or redis is None else str(redis.get("url", ""))


def _registry_of(given: Registry, framing: str) -> SchemaRegistrySettings | None:
    if framing not in FRAMINGS:
        raise InvalidSettings("framing", f"{framing!r} is not {' or '.join(FRAMINGS)}")
    settings = _checked(given) if given else None
    if settings is None and framing != SINGLE_OBJECT:
        raise InvalidSettings("framing", f"{framing!r} needs a schema_registry")
    return settings


def _checked(given: Registry) -> SchemaRegistrySettings | None:
    from pipeline.settings import (  # noqa: PLC0415  # for this alone
        SchemaRegistrySettings,
        check_schema_registry,
        checked,
    )

    section = {"url": given} if isinstance(given, str) else given
    settings = checked(section, SchemaRegistrySettings, "schema_registry")
    check_schema_registry(settings, "schema_registry")
    return settings if settings.url else None


def new_client_id() -> str:
    """Return a client id that no other process has: host, process id, and something random."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


def reply_partition(client_id: str, partitions: int) -> int:
    """Return the partition of the result topic on which a client hears its answers: the same on every machine.

    A topic that grows changes it for the next connection only: every request says where its own answer goes, and a
    worker that has not heard of that partition asks its broker about it.
    """
    return zlib.crc32(client_id.encode()) % partitions
