"""One incarnation of one version: its loader, its servable, and the count of who uses it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

from pipeline.errors import PenstockError
from pipeline.records import State
from pipeline.registry.handle import Handle
from pipeline.registry.loader import Loader
from pipeline.registry.policy import Phase
from pipeline.registry.servable import Description, Servable, ServableId
from pipeline.registry.source import Aspired
from pipeline.registry.states import VersionState


class Harness:
    """From START to END, once. Its stream changes it, one step at a time; handles and loads come from any thread.

    After END it holds neither loader nor servable, so that whoever still has the harness keeps nothing alive.
    """

    def __init__(self, item: Aspired[Loader], incarnation: int = 1) -> None:
        self.id: ServableId = item.id
        self.incarnation = incarnation
        self.item: Aspired[Loader] = replace(item, data=None)
        self.kind: str | None = item.kind
        self.loader: Loader | None = item.data
        self.servable: Servable | None = None
        self.phase = Phase.NEW
        self.state = State.START
        self.is_aspired = True
        self.error: PenstockError | None = None
        self.attempts = 0
        self.is_admitted = False
        self.load_ms: int | None = None
        self.estimate_bytes: int | None = None
        self.memory_bytes: int | None = None
        self.description: Description | None = None
        self.derived: dict[str, Any] = {}
        self.future: Future[None] | None = None
        self.cancel_timer: Callable[[], None] | None = None
        self._lock = threading.Lock()
        self._is_loading = False
        self._is_cancelled = False
        self._handles = 0
        self._on_drained: Callable[[], None] | None = None

    def take(self) -> Handle | None:
        """Return a handle, or None when handles are refused by now. Never blocks."""
        with self._lock:
            if self._on_drained is not None:
                return None
            self._handles += 1
        return Handle(self)

    def give_back(self) -> None:
        """Count one handle less; the last one after ``refuse_handles`` starts the unload on its pool."""
        with self._lock:
            self._handles -= 1
            on_drained = self._on_drained if self._handles == 0 else None
        if on_drained is not None:
            on_drained()

    def refuse_handles(self, on_drained: Callable[[], None]) -> None:
        """Give no handle from now on, and call ``on_drained`` once when none is held: now, or from ``give_back``."""
        with self._lock:
            self._on_drained = on_drained
            is_drained = self._handles == 0
        if is_drained:
            on_drained()

    def begin_load(self) -> Loader | None:
        """Return the loader to load now, or None when the load has been cancelled meanwhile. On the load thread."""
        with self._lock:
            if self._is_cancelled:
                return None
            self._is_loading = True
            return self.loader

    def end_load(self) -> None:
        """Say that the load has returned or raised: once its outcome is taken up, and not before, by its stream.

        Until then it counts as running. Otherwise a cancellation in between would drop a servable that nobody unloads.
        """
        with self._lock:
            self._is_loading = False

    def cancel_load(self) -> bool:
        """Keep the load from starting; False when it is running already. Forgets the timer and the queued job."""
        with self._lock:
            if self._is_loading:
                return False
            self._is_cancelled = True
        if self.cancel_timer is not None:
            self.cancel_timer()
        if self.future is not None:
            self.future.cancel()
        return True

    def drop(self) -> None:
        """Let go of everything heavy."""
        self.loader = self.servable = self.future = self.cancel_timer = None
        self.derived = {}

    def event(self, error: PenstockError | None, at_ms: int) -> VersionState:
        """Return what the bus is told of the state that it has now."""
        item = self.item
        return VersionState(
            id=self.id,
            state=self.state,
            error=error,
            generation=item.generation,
            kind=self.kind,
            path=item.path,
            digest=item.digest,
            load_ms=self.load_ms,
            at_ms=at_ms,
            incarnation=self.incarnation,
            estimate_bytes=self.estimate_bytes,
            memory_bytes=self.memory_bytes,
            description=self.description,
        )

    def describe(self) -> str:
        """One line for people: the version, its state, and why."""
        why = f" ({self.error.code}: {self.error})" if self.error is not None else ""
        again = f" (incarnation {self.incarnation})" if self.incarnation > 1 else ""
        return f"{self.id.version}: {self.state}{again}{why}"
