"""The schema registry of one connection."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from concurrent.futures import Future

from pipeline.clock import SystemClock
from pipeline.codecs.avro_framing import AvroFraming
from pipeline.codecs.confluent import WriterSchema
from pipeline.errors import ConnectorError
from pipeline.schema_registry.client import RegistryClient
from pipeline.schema_registry.known_schemas import KnownSchemas
from pipeline.schema_registry.naming import name_schema
from pipeline.schema_registry.subjects import subject_of
from pipeline.settings import SchemaRegistrySettings

_RECORD = "PredictRequest"


class ClientSchemas:
    """See WriterSchemas. Thread-safe; nothing is connected before it is asked."""

    def __init__(self, settings: SchemaRegistrySettings, request_topic: str) -> None:
        """Raises MissingExtra, and ConnectorError for files of the settings that can not be read."""
        self._subject = subject_of(settings.subject_name_strategy, request_topic, _RECORD)
        self._auto_register = settings.auto_register
        self._registry = RegistryClient(settings)
        self._known = KnownSchemas(self._registry, SystemClock(), settings.wait_s)

    def find(self, name: bytes) -> WriterSchema:
        """See WriterSchemas."""
        return self._known.find(name)

    def fetch(self, names: Iterable[bytes]) -> None:
        """See KnownSchemas."""
        self._known.fetch(names)

    def name_requests(self, framing: AvroFraming, timeout_s: float) -> None:
        """Find the name that requests are framed with.

        Raises ConnectorError where the registry does not answer in ``timeout_s``, or does not have the schema.
        """
        found: Future[None] = Future()  # of a thread of its own: the registry's timeout is not the caller's
        threading.Thread(target=self._name, args=(framing, found), name="penstock-schema", daemon=True).start()
        try:
            found.result(timeout_s)
        except TimeoutError:
            raise ConnectorError(self._registry.where, f"no answer within {timeout_s:g} s") from None

    def close(self) -> None:
        """Let go of the registry."""
        self._known.close()
        self._registry.close()

    def _name(self, framing: AvroFraming, found: Future[None]) -> None:
        try:
            name_schema(self._registry, self._subject, _RECORD, framing, auto_register=self._auto_register)
        except Exception as error:  # noqa: BLE001  # the caller's thread raises it
            found.set_exception(error)
        else:
            found.set_result(None)
