"""Queue: what every queue of the client has in common, its place and its share of a connection."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypedDict

from pipeline.client import shared
from pipeline.client.address import Address, Registry
from pipeline.client.connection import Connection
from pipeline.errors import ConnectorError
from pipeline.framings import SINGLE_OBJECT
from pipeline.kafka_properties import Scalar


class QueueOptions(TypedDict, total=False):
    """Where a queue is; every one is optional.

    ``bootstrap``: an address of Kafka, ``host:port`` or ``kafka://host:port``, or a URL of Redis such as
    ``redis://host:6379`` (default: that of ``kafka``, else that of ``redis``, else Kafka at localhost:9092). ``kafka``:
    librdkafka properties, for TLS and SASL and whatever else. ``redis``: the fields of the settings' section ``redis``.
    ``max_length``: over Redis, how many requests may wait in the stream before more are refused (0: any number).
    ``request_topic``, ``result_topic``: where the worker's route has
    names of its own. ``client_id``: default is new for each process; one that you set must be in use by one process
    at a time, unless these shall see each other's results. ``connect_timeout_s``: how long the first use may take to
    find the broker (10). ``max_results``: how many results that nobody takes are kept (100,000). ``schema_registry``: a
    URL, or the fields of the settings' section of that name. ``framing``: of Avro requests, ``single-object``,
    ``confluent`` or ``confluent-header``.
    """

    bootstrap: str | None
    kafka: Mapping[str, Scalar]
    redis: Mapping[str, Any]
    max_length: int
    request_topic: str | None
    result_topic: str | None
    client_id: str | None
    connect_timeout_s: float
    max_results: int
    schema_registry: Registry
    framing: str


class Queue:
    """One user of a shared connection, which is opened on first use, or by ``open``."""

    def __init__(
        self,
        route: str,
        *,
        bootstrap: str | None = None,
        kafka: Mapping[str, Scalar] | None = None,
        redis: Mapping[str, Any] | None = None,
        max_length: int = 0,
        request_topic: str | None = None,
        result_topic: str | None = None,
        client_id: str | None = None,
        connect_timeout_s: float = 10.0,
        max_results: int = 100_000,
        schema_registry: Registry = "",
        framing: str = SINGLE_OBJECT,
    ) -> None:
        self._address = Address.of(
            route,
            client_id or "",
            kafka or {},
            bootstrap,
            request_topic,
            result_topic,
            redis,
            max_length,
            schema_registry,
            framing,
        )
        self._connect_timeout_s = connect_timeout_s
        self._max_results = max_results
        self._connection: Connection | None = shared.acquire(self._address, max_results)
        self._is_closed = False

    @property
    def client_id(self) -> str:
        """Who this is to the workers."""
        return self._own().address.client_id

    def _own(self) -> Connection:
        """Return this queue's connection, open or not; after a fork it is the child's own."""
        if self._is_closed:
            raise ConnectorError(type(self).__name__, "it is closed")
        connection = self._connection
        if connection is None or connection.pid != os.getpid():
            connection = self._connection = shared.acquire(self._address, self._max_results)
        return connection

    def _opened(self, timeout_s: float | None = None, *, to_send: bool = False) -> Connection:
        """Return this queue's connection, open; blocks for the connect timeout, or ``timeout_s`` if shorter."""
        connection = self._own()
        if not connection.is_open(to_send=to_send):
            limit_s = self._connect_timeout_s
            connection.open(limit_s if timeout_s is None else min(limit_s, timeout_s), to_send=to_send)
        return connection

    def _release(self, timeout_s: float) -> None:
        connection, self._connection = self._connection, None
        self._is_closed = True
        if connection is not None:
            shared.release(connection, timeout_s)
