"""All of one worker that concerns its schema registry."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor

from pipeline.clock import Clock
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.avro_framing import AvroFraming
from pipeline.schema_registry.client import RegistryClient
from pipeline.schema_registry.known_schemas import KnownSchemas
from pipeline.schema_registry.preparation import Preparation
from pipeline.schema_registry.subjects import subject_of
from pipeline.settings import RouteSettings, SchemaRegistrySettings


class WorkerSchemas:
    """One client and one set of known schemas for all routes; without a ``url`` in the settings there is neither."""

    def __init__(self, settings: SchemaRegistrySettings, clock: Clock, executor: Executor) -> None:
        """``executor`` asks the registry where no thread of a route may. Raises MissingExtra, ConnectorError."""
        self._settings, self._clock, self._executor = settings, clock, executor
        self._client = RegistryClient(settings) if settings.url else None
        self._known = None if self._client is None else KnownSchemas(self._client, clock, settings.wait_s)

    def route(self, route: RouteSettings) -> tuple[AvroCodec, Callable[[], bool] | None]:
        """Return the codec of a route, and what says whether it may begin; None: at once."""
        if self._client is None or self._known is None:
            return AvroCodec(), None
        framing = AvroFraming(route.framing_out)
        strategy = self._settings.subject_name_strategy
        preparation = Preparation(
            self._client,
            self._known,
            # The topics of a pattern are not known yet, and any answer tells that the registry is there.
            subject_of("record" if route.is_pattern else strategy, route.request_topic, "PredictRequest"),
            subject_of(strategy, route.result_topic, "PredictResult"),
            framing,
            self._clock,
            self._executor,
            auto_register=self._settings.auto_register,
        )
        return AvroCodec(schemas_by_name=self._known, results=framing), preparation.poll

    def fetch(self, names: set[bytes]) -> None:
        """See KnownSchemas."""
        if self._known is not None:
            self._known.fetch(names)

    def close(self) -> None:
        """Wait for the registry no more."""
        if self._known is not None and self._client is not None:
            self._known.close()
            self._client.close()
