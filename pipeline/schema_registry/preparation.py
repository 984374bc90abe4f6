"""What a route needs of the registry before it takes requests."""

from __future__ import annotations

import logging
from concurrent.futures import Executor, Future
from typing import Final

from pipeline.clock import Clock
from pipeline.codecs import confluent
from pipeline.codecs.avro_framing import AvroFraming
from pipeline.errors import ConnectorError
from pipeline.schema_registry.client import RegistryClient
from pipeline.schema_registry.known_schemas import KnownSchemas
from pipeline.schema_registry.naming import name_schema

log = logging.getLogger(__name__)

_FIRST_RETRY_S: Final = 0.5
_LAST_RETRY_S: Final = 30.0
# How many of the latest versions of the requests' subject are asked for.
_VERSIONS: Final = 20


class Preparation:
    """Has the registry answered once, its versions of the requests known, and the name of the results' schema found.

    A worker that took requests before would answer those that it can not decode with errors; as it is, they wait in the
    log. Once done it stays done, whatever becomes of the registry.
    """

    def __init__(
        self,
        registry: RegistryClient,
        known: KnownSchemas,
        request_subject: str,
        result_subject: str,
        framing: AvroFraming,
        clock: Clock,
        executor: Executor,
        *,
        auto_register: bool,
    ) -> None:
        """``executor`` asks; ``framing`` is that of the results."""
        self._registry, self._known = registry, known
        self._request_subject, self._result_subject = request_subject, result_subject
        self._framing, self._auto_register = framing, auto_register
        self._clock, self._executor = clock, executor
        self._attempt: Future[None] | None = None
        self._is_done = False
        self._problem = ""
        self._retry_s, self._next_try_s = _FIRST_RETRY_S, 0.0

    def poll(self) -> bool:
        """Return whether it is done; see to it that it will be. Never blocks; for one thread.

        Raises what is nobody's fault but ours.
        """
        if self._is_done:
            return True
        if self._attempt is None:
            if self._clock.monotonic_s() >= self._next_try_s:
                self._attempt = self._executor.submit(self.step)
            return False
        if not self._attempt.done():
            return False
        attempt, self._attempt = self._attempt, None
        try:
            attempt.result()
        except ConnectorError as error:
            self._postpone(str(error))
            return False
        self._is_done = True
        return True

    def step(self) -> None:
        """Do it once. Blocks; raises ConnectorError."""
        for version in self._registry.versions(self._request_subject)[-_VERSIONS:]:
            found = self._registry.version(self._request_subject, version)
            if found is None:
                continue  # deleted just now
            if found.schema_id is not None:
                self._known.learn(confluent.of_id(found.schema_id), found)
            if found.guid is not None:
                self._known.learn(confluent.of_guid(found.guid), found)
        if not self._framing.is_known:
            name_schema(
                self._registry,
                self._result_subject,
                "PredictResult",
                self._framing,
                auto_register=self._auto_register,
            )

    def _postpone(self, problem: str) -> None:
        if problem != self._problem:
            log.warning("no request is taken before the schema registry has answered: %s", problem)
            self._problem = problem
        self._next_try_s = self._clock.monotonic_s() + self._retry_s
        self._retry_s = min(2 * self._retry_s, _LAST_RETRY_S)
