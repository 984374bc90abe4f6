"""What happened to a version, and who wants to know: the VersionState event and the bus that carries it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from pipeline.errors import PenstockError
from pipeline.records import State
from pipeline.registry.servable import Description, ServableId

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class VersionState:
    """One version has reached ``state``.

    AVAILABLE comes after handles can be taken, UNLOADING before they are refused. ``error`` is set on END only, where
    the life of the version did not end as wished. ``generation`` is that of the aspiration which caused the change,
    ``load_ms`` the duration of the last load from AVAILABLE on, ``at_ms`` milliseconds since the Unix epoch.
    ``incarnation`` tells two lives of one version apart that overlap, while new content is loaded beside the old; the
    newer is the higher. ``estimate_bytes`` is what the loader said, ``memory_bytes`` what the process grew by,
    ``description`` what the servable is, from AVAILABLE on.
    """

    id: ServableId
    state: State
    error: PenstockError | None = None
    generation: int = -1
    kind: str | None = None
    path: str | None = None
    digest: str | None = None
    load_ms: int | None = None
    at_ms: int = 0
    incarnation: int = 1
    estimate_bytes: int | None = None
    memory_bytes: int | None = None
    description: Description | None = None


Subscriber = Callable[[VersionState], None]


class EventBus:
    """Carries every transition to every subscriber: exactly once, in order per stream, subscribers in their order.

    A subscriber runs on the thread that made the transition (a pool's, or that of whoever aspired), no lock held, and
    may be called for several streams at once. While it runs its stream stands still, so it should be quick. One that
    raises is logged and called again next time; the others do not notice.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._subscribers: tuple[Subscriber, ...] = ()

    def subscribe(self, subscriber: Subscriber) -> Callable[[], None]:
        """Add a subscriber for all transitions from now on, and return the call that removes it again.

        Removing does not wait: a transition that is being published at this moment may still arrive.
        """
        one = partial(subscriber)  # equal to no other, even where one function subscribes twice
        with self._lock:
            self._subscribers = (*self._subscribers, one)
        return lambda: self._remove(one)

    def publish(self, event: VersionState) -> None:
        """Call every subscriber; never raises. Called by the manager, one thread at a time per stream."""
        for subscriber in self._subscribers:
            try:
                subscriber(event)
            except Exception:
                logger.exception("a subscriber failed on %s %s", event.id, event.state)

    def _remove(self, subscriber: Subscriber) -> None:
        with self._lock:
            self._subscribers = tuple(it for it in self._subscribers if it is not subscriber)
