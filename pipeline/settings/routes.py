"""The section ``routes``: request topic -> servable -> result topic, with its limits."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from pipeline.errors import InvalidSettings
from pipeline.settings.section import Section


class RouteSettings(Section, frozen=True):
    """One route: a request topic, the servable that answers, and a result topic, with its limits.

    Names that are left empty follow the route's name: ``<route>.requests``, ``<route>.results``,
    ``<route>.requests-dlt``, group ``penstock.<route>``, and the servable of the route's own name.
    """

    connector: str = "kafka"
    servable: str = ""
    request_topic: str = ""
    result_topic: str = ""
    dead_letter_topic: str = ""
    group: str = ""
    format: str = ""
    reply_topics: tuple[str, ...] = ()
    max_batch_size: int = 512
    max_wait_ms: float = 0.0
    max_record_bytes: int = 16 * 1024 * 1024
    max_result_bytes: int = 1_000_000
    max_tensors: int = 64
    max_batches_in_flight: int = 4
    commit_interval_ms: int = 50
    guarantee: str = "at_least_once"
    revoke_timeout_s: float = 10.0


def complete_route(name: str, route: RouteSettings) -> RouteSettings:
    """Return a route with the names that were left empty."""
    requests = route.request_topic or f"{name}.requests"
    return msgspec.structs.replace(
        route,
        servable=route.servable or name,
        request_topic=requests,
        result_topic=route.result_topic or f"{name}.results",
        dead_letter_topic=route.dead_letter_topic or f"{requests}-dlt",
        group=route.group or f"penstock.{name}",
    )


def check_route(
    name: str, route: RouteSettings, servables: Collection[str], requests: Mapping[str, str], place: str
) -> None:
    """Raise InvalidSettings for what is out of range; ``requests`` is the route's name by request topic."""
    if route.servable not in servables:
        known = ", ".join(servables) or "none"
        raise InvalidSettings(place, f"servable {route.servable!r} is not among the servables ({known})")
    if requests[route.request_topic] != name:
        raise InvalidSettings(
            place, f"{route.request_topic!r} is the request topic of {requests[route.request_topic]!r} too"
        )
    for topic in (route.result_topic, route.dead_letter_topic):
        if topic in requests:
            raise InvalidSettings(place, f"{topic!r} is a request topic: its results would be read as requests")
    for field in ("max_batch_size", "max_record_bytes", "max_result_bytes", "max_tensors", "max_batches_in_flight"):
        if getattr(route, field) < 1:
            raise InvalidSettings(f"{place}.{field}", f"must be at least 1, got {getattr(route, field)}")
    if route.max_wait_ms < 0 or route.commit_interval_ms < 0 or route.revoke_timeout_s < 0:
        raise InvalidSettings(place, "max_wait_ms, commit_interval_ms and revoke_timeout_s must not be negative")
    if route.guarantee not in ("at_least_once", "exactly_once"):
        raise InvalidSettings(f"{place}.guarantee", f"{route.guarantee!r} is not at_least_once or exactly_once")
