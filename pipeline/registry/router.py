"""One source, several targets: which of them gets a servable stream is a pure function of its name and versions."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from pipeline.registry.source import Aspired, Target

logger = logging.getLogger(__name__)

T = TypeVar("T")

# From a stream and the versions that are aspired of it to the name of a target, or None to discard the aspiration.
Route = Callable[[str, Sequence[Aspired[Any]]], str | None]


class SourceRouter(Generic[T]):
    """A Target that passes each stream on to one of its own targets.

    The route may be replaced while it runs; a stream that is then aspired for another target is forgotten at the one
    that had it. What is routed nowhere, or to a name that is no target, is discarded; the latter is logged. Calls of
    one router are passed on one at a time, in their order.
    """

    def __init__(self, route: Route, targets: Mapping[str, Target[T]]) -> None:
        self._route = route
        self._targets = dict(targets)
        self._lock = threading.Lock()
        self._places: dict[str, str] = {}

    def update(self, route: Route) -> None:
        """Route by another function from the next aspiration on."""
        with self._lock:
            self._route = route

    def set_aspired(self, stream: str, items: Sequence[Aspired[T]], labels: Mapping[str, int], generation: int) -> None:
        """See Target."""
        with self._lock:
            place = self._route(stream, items)
            before = self._places.pop(stream, None)
            if before is not None and before != place:
                self._targets[before].forget(stream, generation)
            if place is None:
                return
            target = self._targets.get(place)
            if target is None:
                known = ", ".join(sorted(self._targets)) or "none"
                logger.error("stream %s is routed to %r, which is no target; known: %s", stream, place, known)
                return
            self._places[stream] = place
            target.set_aspired(stream, items, labels, generation)

    def forget(self, stream: str, generation: int) -> None:
        """See Target."""
        with self._lock:
            place = self._places.pop(stream, None)
            if place is not None:
                self._targets[place].forget(stream, generation)


def by_name(places: Mapping[str, str], default: str | None = None) -> Route:
    """Return the route that looks a stream's name up."""
    return lambda stream, _: places.get(stream, default)


def by_substring(places: Mapping[str, str], default: str | None = None) -> Route:
    """Return the route that takes the first of ``places`` whose key is part of a stream's name."""
    return lambda stream, _: next((place for part, place in places.items() if part in stream), default)


def by_kind(default: str | None = None) -> Route:
    """Return the route to the target named as the kind that the versions agree on."""

    def route(_: str, items: Sequence[Aspired[Any]]) -> str | None:
        kinds = {item.kind for item in items}
        return kinds.pop() if len(kinds) == 1 and None not in kinds else default

    return route
