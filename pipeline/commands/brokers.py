"""Where a route is, as the client wants to be told."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pipeline.errors import InvalidSettings

if TYPE_CHECKING:
    from pipeline.client.queue import QueueOptions
    from pipeline.settings import Section, Settings


def broker_of(settings: Settings, route: str) -> QueueOptions:
    """Return where a route is: at the broker of its connector; one that is not in the settings where versions are."""
    at = settings.routes.get(route)
    connector = settings.control.connector if at is None else at.connector
    if connector == "redis":
        return {"redis": as_mapping(settings.redis), "max_length": at.redis.max_length if at else 0}
    return {"kafka": settings.kafka}


def check_route(settings: Settings, route: str) -> None:
    """Raise InvalidSettings for a route that is not in the settings; where they have none at all, any will do."""
    if settings.routes and route not in settings.routes:
        raise InvalidSettings("ROUTE", f"{route!r} is not among the routes: {', '.join(settings.routes)}")


def as_mapping(section: Section) -> dict[str, Any]:
    """Return a section as the client takes it."""
    import msgspec

    found: dict[str, Any] = msgspec.to_builtins(section)
    return found
