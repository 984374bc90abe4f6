"""The section ``routes``: request topic -> servable -> result topic, with its limits."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from pipeline import redis_wire
from pipeline.errors import InvalidSettings
from pipeline.framings import FRAMINGS, SINGLE_OBJECT
from pipeline.settings import topic_names
from pipeline.settings.circuit import CircuitSettings, check_circuit
from pipeline.settings.cluster_serving import (
    FORMAT,
    GROUP,
    RESULT_PREFIX,
    ClusterServingSettings,
    check_cluster_serving,
)
from pipeline.settings.dead_letters import DeadLetterSettings, check_dead_letters
from pipeline.settings.header_names import HeaderNames, check_header_names
from pipeline.settings.redis import RedisRouteSettings, check_redis_route
from pipeline.settings.schema_registry import SchemaRegistrySettings
from pipeline.settings.section import Section

_AT_LEAST_ONE: Final = (
    "max_batch_size",
    "max_record_bytes",
    "max_result_bytes",
    "max_tensors",
    "max_batches_in_flight",
    "max_in_flight_bytes",
)
# Where two requests kill, two deaths may meet a third request that is innocent.
_FEWEST_KILLS: Final = 3
# One more than may be chance: workers that are killed often for other reasons can die twice with one request alone.
_KILLS: Final = {"at_least_once": 4, "exactly_once": 0}
_NOT_NEGATIVE: Final = ("max_wait_ms", "commit_interval_ms", "revoke_timeout_s", "retention_s")
_CHOICES: Final = {
    "guarantee": ("at_least_once", "exactly_once"),
    "result_headers": ("minimal", "full"),
    "framing_out": FRAMINGS,
}


class RouteSettings(Section, frozen=True):
    """One route: a request topic, the servable that answers, and a result topic, with its limits.

    Names that are left empty follow the route's name: ``<route>.requests``, ``<route>.results``,
    ``<route>.requests-dlt``, group ``penstock.<route>``, and the servable of the route's own name;
    ``poison_after_kills`` follows the guarantee. A request topic that begins with ``^`` is a pattern
    (``topic_names``); result and dead-letter topic may then name ``{request_topic}``. With ``format: cluster-serving``
    names are those of the job that is called like the route: ``<route>``, ``cluster-serving_<route>`` and, in Redis,
    group ``serving``.
    """

    connector: str = "kafka"
    connector_options: dict[str, Any] = msgspec.field(default_factory=dict)
    servable: str = ""
    request_topic: str = ""
    result_topic: str = ""
    dead_letter_topic: str = ""
    dead_letters: DeadLetterSettings = DeadLetterSettings()
    group: str = ""
    format: str = ""
    framing_out: str = SINGLE_OBJECT
    reply_topics: tuple[str, ...] = ()
    headers: HeaderNames = HeaderNames()
    result_headers: str = "minimal"
    max_batch_size: int = 512
    max_wait_ms: float = 0.0
    max_record_bytes: int = 16 * 1024 * 1024
    max_result_bytes: int = 1_000_000
    max_tensors: int = 64
    max_batches_in_flight: int = 4
    max_in_flight_bytes: int = 64 * 1024 * 1024
    commit_interval_ms: int = 50
    guarantee: str = "at_least_once"
    revoke_timeout_s: float = 10.0
    retention_s: float = 0.0
    circuit: CircuitSettings = CircuitSettings()
    poison_after_kills: int | None = None
    redis: RedisRouteSettings = RedisRouteSettings()
    cluster_serving: ClusterServingSettings = ClusterServingSettings()

    @property
    def is_pattern(self) -> bool:
        """Whether the request topic stands for several."""
        return topic_names.is_pattern(self.request_topic)

    def reads(self, topic: str) -> bool:
        """Whether records of a topic are requests of this route."""
        return topic_names.matches(self.request_topic, topic) if self.is_pattern else topic == self.request_topic

    def results_of(self, request_topic: str) -> str:
        """Return the topic for the results of the requests of one topic."""
        return topic_names.fill(self.result_topic, request_topic)

    def dead_letters_of(self, request_topic: str) -> str:
        """Return the topic for the dead letters of one topic."""
        return topic_names.fill(self.dead_letter_topic, request_topic)


def complete_route(name: str, route: RouteSettings) -> RouteSettings:
    """Return a route with the names that were left empty."""
    is_job = route.format == FORMAT
    requests = route.request_topic or (name if is_job else f"{name}.requests")
    results = route.result_topic or (f"{RESULT_PREFIX}{requests}" if is_job else f"{name}.results")
    group = GROUP if is_job and route.connector == "redis" else f"penstock.{name}"
    letters = f"{topic_names.PLACEHOLDER if topic_names.is_pattern(requests) else requests}-dlt"
    replies = (redis_wire.reply_stream(results, "*"),) if route.connector == "redis" else ()
    return msgspec.structs.replace(
        route,
        servable=route.servable or name,
        request_topic=requests,
        result_topic=results,
        reply_topics=tuple(dict.fromkeys((*route.reply_topics, *replies))),
        dead_letter_topic=route.dead_letter_topic or letters,
        group=route.group or group,
        poison_after_kills=_kills(route),
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
        if topic_names.PLACEHOLDER in topic and not route.is_pattern:
            raise InvalidSettings(place, f"{topic!r} is a template, and the request topic is no pattern")
    _check_limits(route, place)
    check_circuit(route.circuit, f"{place}.circuit")
    check_header_names(route.headers, f"{place}.headers")
    check_dead_letters(route.dead_letters, f"{place}.dead_letters")
    check_redis_route(route.redis, f"{place}.redis")
    if route.format == FORMAT and route.redis.results != "hash":
        raise InvalidSettings(f"{place}.redis.results", f"with format: {FORMAT} results are hashes; leave it out")
    check_cluster_serving(route.cluster_serving, f"{place}.cluster_serving", has_format=route.format == FORMAT)


def _check_limits(route: RouteSettings, place: str) -> None:
    for field in _AT_LEAST_ONE:
        if getattr(route, field) < 1:
            raise InvalidSettings(f"{place}.{field}", f"must be at least 1, got {getattr(route, field)}")
    for field in _NOT_NEGATIVE:
        if getattr(route, field) < 0:
            raise InvalidSettings(f"{place}.{field}", f"must not be negative, got {getattr(route, field)}")
    for field, choices in _CHOICES.items():
        if getattr(route, field) not in choices:
            raise InvalidSettings(f"{place}.{field}", f"{getattr(route, field)!r} is not {' or '.join(choices)}")
    kills = _kills(route)
    if kills < 0 or 0 < kills < _FEWEST_KILLS:
        reason = f"must be 0 (off) or at least 3, got {kills}: fewer kills do not tell which record"
        raise InvalidSettings(f"{place}.poison_after_kills", reason)
    if kills and route.guarantee == "exactly_once":
        reason = f"got {kills}, and with guarantee: exactly_once it is off: leave it out, or take at_least_once"
        raise InvalidSettings(f"{place}.poison_after_kills", reason)


def _kills(route: RouteSettings) -> int:
    """Return after how many kills a request is set aside."""
    return _KILLS.get(route.guarantee, 0) if route.poison_after_kills is None else route.poison_after_kills


def check_framing(route: RouteSettings, registry: SchemaRegistrySettings, place: str) -> None:
    """Raise InvalidSettings for results in a framing for which the registry has no name."""
    if route.framing_out == SINGLE_OBJECT:
        return
    if not registry.url:
        reason = f"{route.framing_out!r} needs a schema registry; set schema_registry.url"
        raise InvalidSettings(f"{place}.framing_out", reason)
    if topic_names.PLACEHOLDER in route.result_topic and registry.subject_name_strategy != "record":
        reason = "with several result topics there is no one subject; set subject_name_strategy: record"
        raise InvalidSettings(f"{place}.framing_out", reason)


def check_patterns(routes: Mapping[str, RouteSettings], control: Collection[str], place: str) -> None:
    """Raise InvalidSettings for a pattern that can not be used, or may match what is written and not asked.

    A worker that read its own results would answer them, and the answers, for ever.
    """
    for name, route in routes.items():
        if not route.is_pattern:
            continue
        where, pattern = f"{place}.{name}.request_topic", route.request_topic
        reason = topic_names.reason_against(pattern)
        if reason:
            raise InvalidSettings(where, f"{pattern!r}: {reason}")
        for topic in control:
            if route.reads(topic):
                raise InvalidSettings(where, f"{pattern!r} matches the control topic {topic!r}")
        for other, at in routes.items():
            for topic in (at.result_topic, at.dead_letter_topic):
                if topic_names.may_match_filled(pattern, topic):
                    step = "let the pattern end, or begin, with what only request topics have, such as \\.requests"
                    raise InvalidSettings(where, f"{pattern!r} may match {topic!r} of route {other!r}: {step}")
            if other != name and not at.is_pattern and route.reads(at.request_topic):
                reason = f"{pattern!r} matches {at.request_topic!r} of route {other!r}: both would answer"
                raise InvalidSettings(where, reason)
