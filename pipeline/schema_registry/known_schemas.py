"""The schemas of a registry that this process has seen: looked up without waiting, asked for when somebody may wait."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Final, Protocol

import msgspec

from pipeline.clock import Clock
from pipeline.codecs import confluent
from pipeline.codecs.confluent import WriterSchema
from pipeline.errors import ConnectorError, SchemaUnavailable, Undecodable
from pipeline.schema_registry.client import Registered
from pipeline.schema_registry.normal_form import writer_schema
from pipeline.schema_registry.references import Versions, texts_of

log = logging.getLogger(__name__)

# While a registry is away it is asked again after these times, doubled from the first to the last.
_FIRST_RETRY_S: Final = 0.1
_LAST_RETRY_S: Final = 30.0
# A registry's other nodes may not know yet what one of them has just registered.
_UNKNOWN_FOR_S: Final = 30.0
_MOST_UNKNOWN: Final = 10_000


class Registry(Versions, Protocol):
    """What is asked of a registry; see RegistryClient."""

    def named(self, name: bytes) -> Registered | None:
        """Return the schema that a name stands for."""
        ...


class _Unusable(msgspec.Struct, frozen=True):
    """Why a name stands for nothing that can be read by, and until when that is believed."""

    reason: str
    until_s: float


class KnownSchemas:
    """See WriterSchemas. What was found once is known for as long as the process lives, the registry away or not.

    ``find`` never waits. ``fetch`` does: where the registry does not answer it waits ``wait_s`` in all, once; from
    then on until it has answered again it asks once in a while only, and does not wait.
    """

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        wait_s: float,
        pause: Callable[[float], object] | None = None,
    ) -> None:
        """``pause`` waits for some seconds; for tests."""
        self._registry, self._clock, self._wait_s = registry, clock, wait_s
        self._closed = threading.Event()
        self._pause = pause or self._closed.wait
        self._known: dict[bytes, WriterSchema] = {}
        self._unusable: dict[bytes, _Unusable] = {}
        self._lock = threading.Lock()  # one asks at a time; guards what follows
        self._trouble = ""  # why the registry did not answer; empty while it does
        self._is_given_up = False  # it was away for wait_s, and has not answered since
        self._retry_s = _FIRST_RETRY_S
        self._next_try_s = 0.0

    def find(self, name: bytes) -> WriterSchema:
        """See WriterSchemas."""
        known = self._known.get(name)
        if known is not None:
            return known
        unusable = self._unusable.get(name)
        if unusable is not None and self._clock.monotonic_s() < unusable.until_s:
            raise Undecodable(f"the schema with {confluent.text(name)} {unusable.reason}")
        raise SchemaUnavailable(confluent.text(name), name, self._trouble or "it was not asked for yet")

    def fetch(self, names: Iterable[bytes]) -> None:
        """Ask for the schemas of these names. Blocks; never raises: ``find`` says what came of it.

        Not for a thread that must go on. Two callers wait for each other.
        """
        deadline_s = self._clock.monotonic_s() + self._wait_s
        with self._lock:
            for name in names:
                while self._lacks(name) and self._may_ask(deadline_s):
                    self._ask(name)

    def learn(self, name: bytes, registered: Registered) -> None:
        """Know a schema that was found in another way. Blocks where it has references; raises ConnectorError."""
        if registered.kind != "AVRO":
            self._note(name, f"is of type {registered.kind}, not AVRO")
            return
        try:
            self._known[name] = writer_schema(registered.text, texts_of(self._registry, registered))
        except ValueError as error:
            self._note(name, str(error))

    def close(self) -> None:
        """Wait for nothing any more."""
        self._closed.set()

    def _lacks(self, name: bytes) -> bool:
        try:
            self.find(name)
        except SchemaUnavailable:
            return True
        except Undecodable:
            return False
        return False

    def _may_ask(self, deadline_s: float) -> bool:
        """Return whether the registry may be asked now, after waiting for that where it pays."""
        now_s = self._clock.monotonic_s()
        if self._closed.is_set():
            return False
        if self._is_given_up:
            return now_s >= self._next_try_s
        if now_s >= deadline_s:
            self._is_given_up = bool(self._trouble)
            return False
        if self._next_try_s > now_s:
            self._pause(min(self._next_try_s, deadline_s) - now_s)
        return True

    def _ask(self, name: bytes) -> None:
        try:
            found = self._registry.named(name)
            if found is not None:
                self.learn(name, found)
        except ConnectorError as error:
            self._note_trouble(error.reason)
            return
        if found is None:
            self._note(name, "is not in the registry")
        if self._trouble:
            log.info("the schema registry answers again")
        self._trouble, self._is_given_up, self._retry_s, self._next_try_s = "", False, _FIRST_RETRY_S, 0.0

    def _note_trouble(self, reason: str) -> None:
        if not self._trouble:
            log.warning("the schema registry does not answer; schemas that are known go on: %s", reason)
        self._trouble = reason
        self._next_try_s = self._clock.monotonic_s() + self._retry_s
        self._retry_s = min(2 * self._retry_s, _LAST_RETRY_S)

    def _note(self, name: bytes, reason: str) -> None:
        if len(self._unusable) >= _MOST_UNKNOWN:  # names that a sender makes up must not fill the memory
            self._unusable.clear()
        self._unusable[name] = _Unusable(reason, self._clock.monotonic_s() + _UNKNOWN_FOR_S)
