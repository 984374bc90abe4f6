"""Where a client sends to, where it hears from, and who it is."""

from __future__ import annotations

import os
import secrets
import socket
import zlib
from collections.abc import Mapping
from typing import Any

import msgspec

from pipeline.kafka_properties import Scalar
from pipeline.redaction import redacted


class Address(msgspec.Struct, frozen=True):
    """Two queues with equal addresses in one process share one connection. ``kafka``: librdkafka properties, sorted."""

    request_topic: str
    result_topic: str
    client_id: str
    kafka: tuple[tuple[str, Scalar], ...]

    def __repr__(self) -> str:
        return (
            f"Address({self.request_topic!r}, {self.result_topic!r}, {self.client_id!r}, {redacted(dict(self.kafka))})"
        )

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # what rich prints instead of the repr
        return [("kafka", redacted(dict(self.kafka)))]

    @property
    def bootstrap(self) -> str:
        """The Kafka address."""
        return str(dict(self.kafka)["bootstrap.servers"])

    @classmethod
    def of(
        cls,
        route: str,
        client_id: str,
        kafka: Mapping[str, Scalar],
        bootstrap: str | None = None,
        request_topic: str | None = None,
        result_topic: str | None = None,
    ) -> Address:
        """Return the address of a route; topics default to ``<route>.requests`` and ``<route>.results``."""
        # librdkafka's own log has a line for every attempt to connect; what it says comes by its error callback too.
        properties: dict[str, Scalar] = {"bootstrap.servers": "localhost:9092", "log_level": 2, **kafka}
        if bootstrap is not None:
            properties["bootstrap.servers"] = bootstrap
        return cls(
            request_topic or f"{route}.requests",
            result_topic or f"{route}.results",
            client_id,
            tuple(sorted(properties.items())),
        )


def new_client_id() -> str:
    """Return a client id that no other process has: host, process id, and something random."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


def reply_partition(client_id: str, partitions: int) -> int:
    """Return the partition of the result topic on which a client hears its answers: the same on every machine.

    A topic that grows changes it for the next connection only: every request says where its own answer goes, and a
    worker that has not heard of that partition asks its broker about it.
    """
    return zlib.crc32(client_id.encode()) % partitions
