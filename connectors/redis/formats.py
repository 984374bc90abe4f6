"""Which format the entries of a route have."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from connectors.redis.cluster_serving import ClusterServingEntries
from connectors.redis.entries import Entries, PlainEntries
from pipeline.clock import Clock, SystemClock
from pipeline.settings import RouteSettings
from pipeline.settings.cluster_serving import FORMAT

# By the route's ``format``; what is not named here says how values are encoded, and stands in plain entries.
_FORMATS: Final[dict[str, Callable[[RouteSettings, Clock], Entries]]] = {FORMAT: ClusterServingEntries}


def entries_of(route: RouteSettings) -> Entries:
    """Return how the entries of a route are read and written."""
    return _FORMATS.get(route.format, PlainEntries)(route, SystemClock())
