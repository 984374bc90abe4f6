"""Which topics Penstock needs, with which settings, and what is wrong with those that exist. All of it pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Mapping

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
# Kafka's own limit, and what a record's key and headers may add to a result.
_KAFKA_MAX_BYTES: Final = 1_048_588
_OVERHEAD_BYTES: Final = 16 * 1024


class TopicSpec(msgspec.Struct, frozen=True):
    """A topic that is needed. ``partitions`` of None is the user's choice, otherwise it is exactly that many.

    ``config`` is what the topic is created with; ``compare`` insists on the cleanup policy and on the largest record.
    """

    name: str
    partitions: int | None
    config: Mapping[str, str]
    purpose: str


class Described(msgspec.Struct, frozen=True):
    """A topic as the broker has it; ``config`` holds every setting, defaults included; empty where we may not look."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]


class Finding(msgspec.Struct, frozen=True):
    """Something about a topic that a person should know: what, and the next step.

    ``is_problem`` is False for what works and may still not be what was meant.
    """

    topic: str
    reason: str
    next_step: str
    is_problem: bool = True


def wanted(settings: Settings) -> list[TopicSpec]:
    """Return every topic that these settings need: three for each route over Kafka, and the two control topics.

    A topic that several routes share is listed once.
    """
    specs: dict[str, TopicSpec] = {}
    for name, route in settings.routes.items():
        if route.connector == "kafka":
            for spec in _of_route(name, route):
                specs.setdefault(spec.name, spec)
    control = settings.control
    specs.setdefault(control.aspired_topic, TopicSpec(control.aspired_topic, 1, _CONTROL, "aspired versions"))
    specs.setdefault(control.states_topic, TopicSpec(control.states_topic, 1, _STATES, "servable states"))
    return list(specs.values())


def compare(spec: TopicSpec, described: Described | None) -> list[Finding]:
    """Return what differs between the topic that is needed and the one that exists (None: it does not)."""
    if described is None:
        return [Finding(spec.name, "does not exist", "penstock topics --create")]
    if not described.config:
        reason = "its settings can not be looked at: that needs the ACL DescribeConfigs on it"
        return [Finding(spec.name, reason, "docs/security.md lists what each role needs", is_problem=False)]
    findings = []
    policy, expected = described.config.get("cleanup.policy", ""), spec.config["cleanup.policy"]
    if policy != expected:
        harm = "old aspirations or states would vanish" if expected == "compact" else "records of one key would vanish"
        reason = f"cleanup.policy is {policy!r}, expected {expected!r}: {harm}"
        findings.append(Finding(spec.name, reason, _alter(spec.name, "cleanup.policy", expected)))
    needed = int(spec.config.get("max.message.bytes", 0))
    allowed = int(described.config.get("max.message.bytes", needed))
    if allowed < needed:
        reason = (
            f"max.message.bytes is {allowed}, expected at least {needed}: max_result_bytes of the route allows more"
        )
        findings.append(Finding(spec.name, reason, _alter(spec.name, "max.message.bytes", str(needed))))
    return findings + _partitions(spec, described)


def _partitions(spec: TopicSpec, described: Described) -> list[Finding]:
    if spec.partitions is None and described.partitions == 1 and spec.purpose.startswith("requests"):
        reason = "has one partition, so one worker at a time can answer it; perhaps it was created by being named"
        step = f"kafka-topics.sh --alter --topic {spec.name} --partitions {DEFAULT_PARTITIONS}"
        return [Finding(spec.name, reason, step, is_problem=False)]
    if spec.partitions is not None and described.partitions != spec.partitions:
        reason = f"has {described.partitions} partitions, expected {spec.partitions}: generations count per partition"
        return [Finding(spec.name, reason, "works; create it anew when convenient", is_problem=False)]
    return []


def _of_route(name: str, route: RouteSettings) -> list[TopicSpec]:
    results = dict(_DATA)
    if route.max_result_bytes + _OVERHEAD_BYTES > _KAFKA_MAX_BYTES:
        results["max.message.bytes"] = str(route.max_result_bytes + _OVERHEAD_BYTES)
    return [
        TopicSpec(route.request_topic, None, _DATA, f"requests of {name}"),
        TopicSpec(route.result_topic, None, results, f"results of {name}"),
        TopicSpec(route.dead_letter_topic, None, _DATA, f"dead letters of {name}"),
    ]


def _alter(topic: str, setting: str, value: str) -> str:
    return f"kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config {setting}={value}"
