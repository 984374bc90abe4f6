"""One schema registry, asked through confluent-kafka's own client."""

from __future__ import annotations

import contextlib
import importlib
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import msgspec

from pipeline.codecs import confluent
from pipeline.errors import ConnectorError, MissingExtra
from pipeline.redaction import without_secrets
from pipeline.settings import SchemaRegistrySettings

_T = TypeVar("_T")
_NOT_THERE: Final = 404
_REFUSED: Final = (401, 403)


class Registered(msgspec.Struct, frozen=True):
    """A schema as a registry has it; what it did not say is None. ``references`` are (subject, version)."""

    text: str
    kind: str = "AVRO"
    references: tuple[tuple[str, int], ...] = ()
    schema_id: int | None = None
    guid: str | None = None
    version: int | None = None


class RegistryClient:
    """Asks a registry. Any thread may call it; each call blocks, for about ``timeout_s`` at most, and asks once.

    Every method raises ConnectorError where the registry does not answer, or not what was asked; one that is asked for
    something it does not have is no error. Nothing is connected before the first call.
    """

    def __init__(self, settings: SchemaRegistrySettings) -> None:
        """Raises MissingExtra, and ConnectorError for files that can not be read."""
        self._settings = settings
        self.where: Final = f"schema registry at {settings.url}"
        try:
            # On use: it needs packages that only an extra brings, and half a second.
            self._library: Any = importlib.import_module("confluent_kafka.schema_registry")
        except ImportError as error:
            reason = f"confluent-kafka's client of it can not be imported ({error})"
            raise MissingExtra(self.where, reason, "schema-registry") from error
        http_log = logging.getLogger("httpx2")
        if http_log.level == logging.NOTSET:
            http_log.setLevel(logging.WARNING)  # else a line for every question
        with self._explained():
            self._client: Any = self._library.SchemaRegistryClient.new_client(properties(settings))

    def named(self, name: bytes) -> Registered | None:
        """Return the schema that a name stands for, None where the registry has none such."""
        schema_id = confluent.id_of(name)
        if schema_id is None:
            return self._found(lambda: _of_schema(self._client.get_schema_by_guid(confluent.guid_of(name))))
        return self._found(lambda: _of_schema(self._client.get_schema(schema_id)))

    def version(self, subject: str, version: int | str = "latest") -> Registered | None:
        """Return one version of a subject."""
        return self._found(lambda: _of_registered(self._client.get_version(subject, version)))

    def versions(self, subject: str) -> list[int]:
        """Return the versions of a subject, empty where there is no such subject."""
        return self._found(lambda: [int(version) for version in self._client.get_versions(subject)]) or []

    def lookup(self, subject: str, text: str) -> Registered | None:
        """Return what an Avro schema is registered as in a subject."""
        schema = self._library.Schema(text, "AVRO")
        return self._found(lambda: _of_registered(self._client.lookup_schema(subject, schema)))

    def register(self, subject: str, text: str) -> Registered:
        """Register an Avro schema in a subject, where it is not yet; a registry refuses one that is not compatible."""
        with self._explained():
            schema = self._library.Schema(text, "AVRO")
            found = self._client.register_schema_full_response(subject, schema)  # with or without the text
            return Registered(text, schema_id=found.schema_id, guid=found.guid, version=found.version)

    def accepts(self, subject: str, text: str) -> bool:
        """Return whether a subject's rule of compatibility would let an Avro schema become its next version."""
        with self._explained():
            schema = self._library.Schema(text, "AVRO")
            return bool(self._client.test_compatibility(subject, schema))

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()

    def _found(self, ask: Callable[[], _T]) -> _T | None:
        with self._explained():
            try:
                return ask()
            except self._library.SchemaRegistryError as error:
                # A wrong address answers 404 too, but without the registry's own code.
                if str(error.error_code).startswith(str(_NOT_THERE)):
                    return None
                raise

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001  # whatever a registry, or who else answers there, makes the client raise
            reason = without_secrets(f"{type(error).__name__}: {error}", msgspec.to_builtins(self._settings))
            if getattr(error, "http_status_code", None) in _REFUSED:
                reason += "; look at schema_registry.user_info and bearer_token"
            raise ConnectorError(self.where, reason) from None  # the cause may repeat a secret


def properties(settings: SchemaRegistrySettings) -> dict[str, Any]:
    """Return the properties of confluent-kafka's client. Pure."""
    named: dict[str, Any] = {
        "url": settings.url,
        "basic.auth.user.info": settings.user_info,
        "ssl.ca.location": settings.ca_file,
        "ssl.certificate.location": settings.certificate_file,
        "ssl.key.location": settings.key_file,
        "ssl.key.password": settings.key_password,
    }
    if settings.bearer_token:
        named |= {
            "bearer.auth.credentials.source": "STATIC_TOKEN",
            "bearer.auth.token": settings.bearer_token,
            "bearer.auth.identity.pool.id": settings.identity_pool,
        }
    found = {name: value for name, value in named.items() if value}
    if settings.bearer_token:
        found["bearer.auth.logical.cluster"] = settings.logical_cluster  # required, if empty
    # When to ask again is decided by who asks: the client would wait 20 seconds between its attempts.
    return found | {"timeout": settings.timeout_s, "max.retries": 0}


def _of_schema(schema: Any) -> Registered:
    references = tuple((str(ref.subject), int(ref.version)) for ref in schema.references or ())
    return Registered(_text(schema.schema_str), schema.schema_type or "AVRO", references)


def _of_registered(registered: Any) -> Registered:
    return msgspec.structs.replace(
        _of_schema(registered.schema),
        schema_id=registered.schema_id,
        guid=registered.guid,
        version=registered.version,
    )


def _text(text: Any) -> str:
    if not isinstance(text, str):
        raise TypeError("the answer has no schema")
    return text
