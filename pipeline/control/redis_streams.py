"""What of Redis the settings need, and what is wrong with it. Nothing has to be made there: streams come with use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from pipeline import redis_access
from pipeline.control.topic_findings import Described, Finding, TopicReport
from pipeline.control.topics import Role, TopicSpec
from pipeline.redis_address import address_of

if TYPE_CHECKING:
    from pipeline.settings import Settings

_LEAST_VERSION: Final = (6, 2)
_DATA: Final = {"cleanup.policy": "delete"}
_LOG: Final = {"cleanup.policy": "compact"}


def is_needed(settings: Settings) -> bool:
    """Whether a route, or the control logs, are in Redis. Pure."""
    is_route = any(route.connector == "redis" for route in settings.routes.values())
    return is_route or settings.control.connector == "redis"


def wanted(settings: Settings) -> list[TopicSpec]:
    """Return the streams that these settings need. Pure. Results that are hashes have no stream."""
    specs: dict[str, TopicSpec] = {}
    for name, route in settings.routes.items():
        if route.connector != "redis":
            continue
        found = {route.request_topic: Role.REQUESTS, route.dead_letter_topic: Role.DEAD_LETTERS}
        if route.redis.results == "stream":
            found[route.result_topic] = Role.RESULTS
        for topic, role in found.items():
            specs.setdefault(topic, TopicSpec(topic, 1, _DATA, f"{role} of {name}", role))
    if settings.control.connector == "redis":
        for topic, role in (
            (settings.control.aspired_topic, Role.ASPIRED),
            (settings.control.states_topic, Role.STATES),
        ):
            specs.setdefault(topic, TopicSpec(topic, 1, _LOG, str(role), role))
    return list(specs.values())


def inspect(settings: Settings, timeout_s: float = 10.0) -> list[TopicReport]:
    """Return what Redis has of each stream that is needed, and of its own settings, and what is wrong with it.

    Blocks for ``timeout_s`` a question at most; raises ConnectorError.
    """
    redis = settings.redis
    seconds = {name: min(timeout_s, getattr(redis, name)) for name in ("connect_timeout_s", "timeout_s")}
    specs, facts, client = wanted(settings), dict[str, Any](), None
    try:
        client = redis_access.connect(msgspec.structs.replace(redis, **seconds), "penstock", retries=0)
        types = {spec.name: client.type(spec.name).decode() for spec in specs}
        for section in ("server", "memory", "persistence"):
            facts |= client.info(section)
    except redis_access.errors() as error:
        raise redis_access.failure(redis, error) from error
    finally:
        if client is not None:
            client.close()
    place = str(address_of(redis.url))
    return [_server(place, facts), *[_stream(spec, types[spec.name]) for spec in specs]]


def _stream(spec: TopicSpec, type_: str) -> TopicReport:
    findings = []
    if type_ not in ("stream", "none"):
        reason = f"its key holds a {type_}, not a stream: nothing can be written to it"
        findings.append(Finding(spec.name, reason, "name another topic, or delete the key", is_dangerous=True))
    return TopicReport(spec, Described(spec.name, 1, 1, spec.config), findings)


def _server(place: str, facts: Mapping[str, Any]) -> TopicReport:
    return TopicReport(
        TopicSpec(place, None, {}, "the server", Role.OTHER),
        Described(place, 0, 0, {}),
        list(_of_server(place, facts)),
    )


def _of_server(place: str, facts: Mapping[str, Any]) -> Iterator[Finding]:
    version = str(facts.get("redis_version", ""))
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers and numbers < _LEAST_VERSION:
        yield Finding(place, f"is version {version}", "6.2 or later is needed", is_dangerous=True)
    policy = str(facts.get("maxmemory_policy", "noeviction"))
    if policy.startswith("allkeys"):
        reason = f"maxmemory-policy is {policy}: when memory is short, requests and versions would vanish"
        yield Finding(place, reason, "set maxmemory-policy noeviction in redis.conf", is_dangerous=True)
    elif policy.startswith("volatile"):
        reason = f"maxmemory-policy is {policy}: when memory is short, results vanish before their time"
        yield Finding(place, reason, "set maxmemory-policy noeviction in redis.conf", is_problem=False)
    if not facts.get("aof_enabled", 1):
        reason = "it has no append-only file: what it took since its last snapshot is lost when it ends"
        step = "set appendonly yes, and appendfsync as much as may be lost, in redis.conf"
        yield Finding(place, reason, step, is_problem=False)
