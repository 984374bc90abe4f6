"""Which topics Penstock needs, and with which settings they are created. All of it pure."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from pipeline.settings import RouteSettings, Settings

DEFAULT_PARTITIONS: Final = 4

_DATA: Final = {"cleanup.policy": "delete"}
_CONTROL: Final = {
    "cleanup.policy": "compact",
    # Only closed segments are compacted. These topics see a few records a day, and every start reads all of them.
    "segment.ms": str(60 * 60 * 1000),
    "min.cleanable.dirty.ratio": "0.1",
    "max.compaction.lag.ms": str(24 * 60 * 60 * 1000),
}
# Signs of life come every few seconds: closed soon, so that a reader finds little more than the last of each.
_STATES: Final = {**_CONTROL, "segment.ms": str(10 * 60 * 1000), "max.compaction.lag.ms": str(60 * 60 * 1000)}
# Somebody has to find the time to look at them; Kafka's own default is a week.
_LETTERS_MS: Final = 14 * 24 * 60 * 60 * 1000
# Kafka's own limit, and what a record's key and headers may add to its value.
_KAFKA_MAX_BYTES: Final = 1_048_588
_OVERHEAD_BYTES: Final = 16 * 1024


class Role(enum.StrEnum):
    """What a topic is for."""

    REQUESTS = "requests"
    RESULTS = "results"
    DEAD_LETTERS = "dead letters"
    ASPIRED = "aspired versions"
    STATES = "servable states"
    OTHER = "other"


class TopicSpec(msgspec.Struct, frozen=True):
    """A topic that is needed. ``partitions`` of None is the user's choice, otherwise it is exactly that many.

    ``config`` is what the topic is created with, ``chosen`` the part of it that the user has set; ``at_least`` is how
    many partitions the user asks for, and ``replication`` how many copies (0: nothing is asked). ``is_pattern``: the
    name is a route's pattern, and no topic matches it yet.
    """

    name: str
    partitions: int | None
    config: Mapping[str, str]
    purpose: str
    role: Role = Role.OTHER
    chosen: Mapping[str, str] = {}
    at_least: int = 0
    replication: int = 0
    is_pattern: bool = False


def wanted(settings: Settings, existing: Iterable[str] = ()) -> list[TopicSpec]:
    """Return every topic of Kafka that these settings need: three for each request topic, and the two control topics.

    ``existing`` are the names of the topics that there are, for routes whose request topic is a pattern. A topic that
    several routes share is listed once.
    """
    specs: dict[str, TopicSpec] = {}
    names = sorted(existing)
    for name, route in settings.routes.items():
        if route.connector == "kafka":
            for spec in _of_route(name, route, names):
                specs.setdefault(spec.name, spec)
    if settings.control.connector != "redis":
        aspired, states = settings.control.aspired_topic, settings.control.states_topic
        specs.setdefault(aspired, TopicSpec(aspired, 1, _CONTROL, "aspired versions", Role.ASPIRED))
        specs.setdefault(states, TopicSpec(states, 1, _STATES, "servable states", Role.STATES))
    return [_as_chosen(spec, settings) for spec in specs.values()]


def request_topics(route: RouteSettings, existing: Iterable[str]) -> list[str]:
    """Return the topics whose records are the requests of a route; where that is a pattern, those that exist."""
    return [name for name in existing if route.reads(name)] if route.is_pattern else [route.request_topic]


def _of_route(name: str, route: RouteSettings, existing: Iterable[str]) -> Iterator[TopicSpec]:
    kept = {"retention.ms": str(int(route.retention_s * 1000))} if route.retention_s else {}
    requests = {**_DATA, **_fitting(route.max_record_bytes), **kept}
    results = {**_DATA, **_fitting(route.max_result_bytes), **kept}
    # A letter is a request with more headers, and stays when the request is gone.
    letters = {**_DATA, **_fitting(route.max_record_bytes + _OVERHEAD_BYTES)}
    letters["retention.ms"] = str(max(_LETTERS_MS, int(route.retention_s * 1000)))
    topics = request_topics(route, existing)
    if not topics:
        yield TopicSpec(route.request_topic, None, requests, f"requests of {name}", Role.REQUESTS, is_pattern=True)
    for topic in topics:
        yield TopicSpec(topic, None, requests, f"requests of {name}", Role.REQUESTS)
        yield TopicSpec(route.results_of(topic), None, results, f"results of {name}", Role.RESULTS)
        yield TopicSpec(route.dead_letters_of(topic), None, letters, f"dead letters of {name}", Role.DEAD_LETTERS)


def _fitting(value_bytes: int) -> dict[str, str]:
    needed = value_bytes + _OVERHEAD_BYTES
    return {"max.message.bytes": str(needed)} if needed > _KAFKA_MAX_BYTES else {}


def _as_chosen(spec: TopicSpec, settings: Settings) -> TopicSpec:
    chosen = settings.topics.get(spec.name)
    if chosen is None:
        return spec
    config = {key: _text(value) for key, value in chosen.config.items()}
    return msgspec.structs.replace(
        spec,
        config={**spec.config, **config},
        chosen=config,
        at_least=chosen.partitions,
        replication=chosen.replication_factor,
    )


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
