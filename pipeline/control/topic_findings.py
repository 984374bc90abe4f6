"""What is wrong with the topics that exist, for `penstock check`, `penstock topics` and the worker alike. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from pipeline.control.topics import DEFAULT_PARTITIONS, Role, TopicSpec, request_topics

if TYPE_CHECKING:
    from pipeline.settings import RouteSettings, Settings

_ALTER: Final = "penstock topics --alter"
_CREATE: Final = "penstock topics --create"
_SHORT_MS: Final = 60 * 60 * 1000
_SAFE_COPIES: Final = 3
_VANISH: Final = {
    Role.REQUESTS: "of the requests of one key all but the last would vanish unanswered",
    Role.ASPIRED: "old aspirations would vanish, and workers that start then serve nothing",
    Role.STATES: "old states would vanish",
}


class Described(msgspec.Struct, frozen=True):
    """A topic as the broker has it; ``config`` holds every setting, defaults included.

    ``unreadable`` is why the broker did not tell the settings: then ``config`` is empty, and nothing is said of them.
    """

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str]
    unreadable: str = ""


class Finding(msgspec.Struct, frozen=True):
    """Something about a topic that a person should know: what, and the next step.

    ``is_problem`` is False for what works and may still not be what was meant. ``is_dangerous``: requests or versions
    would be lost, so that a worker does not start. ``fix`` and ``partitions`` are what the topic would have to be
    changed to; `penstock topics --alter` does that.
    """

    topic: str
    reason: str
    next_step: str
    is_problem: bool = True
    is_dangerous: bool = False
    fix: Mapping[str, str] = {}
    partitions: int = 0


class TopicReport(msgspec.Struct, frozen=True):
    """A topic that is needed, the one that exists (None: it does not), and what differs."""

    spec: TopicSpec
    described: Described | None
    findings: Sequence[Finding]


def examine(settings: Settings, specs: Iterable[TopicSpec], existing: Mapping[str, Described]) -> list[TopicReport]:
    """Return each topic with everything that is wrong with it, by itself and beside the others of its route."""
    found: dict[str, list[Finding]] = {}
    readers: dict[str, list[str]] = {}
    for name, route in settings.routes.items():
        if route.connector == "kafka":
            for topic in request_topics(route, existing):
                readers.setdefault(topic, []).append(name)
                for finding in _beside(route, topic, existing):
                    found.setdefault(finding.topic, []).append(finding)
    for topic, names in readers.items():
        if len(names) > 1:
            reason = f"the routes {' and '.join(names)} both read it: each request is answered {len(names)} times"
            found.setdefault(topic, []).append(Finding(topic, reason, "make one of their patterns narrower"))
    return [
        TopicReport(spec, existing.get(spec.name), [*compare(spec, existing.get(spec.name)), *found.get(spec.name, ())])
        for spec in specs
    ]


def compare(spec: TopicSpec, described: Described | None) -> list[Finding]:
    """Return what differs between the topic that is needed and the one that exists (None: it does not)."""
    if spec.is_pattern:
        reason = "no topic matches this pattern yet; those that are made later are found within seconds"
        return [Finding(spec.name, reason, f"create one, then: {_CREATE}", is_problem=False)]
    if described is None:
        return [Finding(spec.name, "does not exist", _CREATE)]
    findings = []
    if described.unreadable:
        reason = f"its settings can not be read: {described.unreadable}"
        step = "allow DescribeConfigs on it, or look at them yourself"
        findings.append(Finding(spec.name, reason, step, is_problem=False))
    findings += [found for look in (_policy, _size, _kept, _copies) if (found := look(spec, described)) is not None]
    return [*findings, *_chosen(spec, described), *_partitions(spec, described)]


def _policy(spec: TopicSpec, described: Described) -> Finding | None:
    policy, expected = described.config.get("cleanup.policy"), spec.config["cleanup.policy"]
    if policy is None or policy == expected:
        return None
    is_compacted = "compact" in policy.split(",")
    is_dangerous = (spec.role is Role.REQUESTS and is_compacted) or (spec.role is Role.ASPIRED and not is_compacted)
    harm = _VANISH.get(spec.role, "records of one key would vanish")
    reason = f"cleanup.policy is {policy!r}, expected {expected!r}: {harm}"
    return Finding(spec.name, reason, _ALTER, is_dangerous=is_dangerous, fix={"cleanup.policy": expected})


def _size(spec: TopicSpec, described: Described) -> Finding | None:
    needed = int(spec.config.get("max.message.bytes", 0))
    allowed = int(described.config.get("max.message.bytes", needed))
    if allowed >= needed or "max.message.bytes" in spec.chosen:
        return None
    limit = "max_result_bytes" if spec.role is Role.RESULTS else "max_record_bytes"
    reason = f"max.message.bytes is {allowed}, expected at least {needed}: {limit} of the route allows more"
    # A request that is too large is refused to the one who sends it; a result is an answer that does not arrive.
    is_problem = spec.role is Role.RESULTS
    return Finding(spec.name, reason, _ALTER, is_problem=is_problem, fix={"max.message.bytes": str(needed)})


def _kept(spec: TopicSpec, described: Described) -> Finding | None:
    kept_ms = _retention_ms(described)
    if kept_ms is None or spec.role not in (Role.REQUESTS, Role.RESULTS) or "retention.ms" in spec.chosen:
        return None
    promised = spec.config.get("retention.ms")
    if promised is not None and kept_ms < int(promised):
        reason = f"retention.ms is {kept_ms}, expected at least {promised}, retention_s of the route"
        return Finding(spec.name, reason, _ALTER, fix={"retention.ms": promised})
    if promised is None and kept_ms < _SHORT_MS and spec.role is Role.REQUESTS:
        reason = f"retention.ms is {kept_ms}: a request that waits longer for a worker vanishes unanswered"
        step = "raise it, or set retention_s of the route to how long a request may wait"
        return Finding(spec.name, reason, step, is_problem=False)
    limit = described.config.get("retention.bytes", "-1")
    if spec.role is Role.REQUESTS and limit != "-1":
        reason = f"retention.bytes is {limit}: a backlog above that vanishes unanswered"
        return Finding(spec.name, reason, _ALTER, is_problem=False, fix={"retention.bytes": "-1"})
    return None


def _copies(spec: TopicSpec, described: Described) -> Finding | None:
    in_sync = int(described.config.get("min.insync.replicas", 1))
    if in_sync > described.replication > 0:
        reason = f"min.insync.replicas is {in_sync} of {described.replication} copies: no record is accepted"
        return Finding(spec.name, reason, _ALTER, fix={"min.insync.replicas": str(described.replication)})
    if described.replication >= _SAFE_COPIES and in_sync == 1 and "min.insync.replicas" in described.config:
        reason = f"min.insync.replicas is 1 of {described.replication}: what one broker has accepted is lost with it"
        return Finding(spec.name, reason, _ALTER, is_problem=False, fix={"min.insync.replicas": "2"})
    return None


def _chosen(spec: TopicSpec, described: Described) -> list[Finding]:
    findings = []
    for key, value in spec.chosen.items():
        actual = described.config.get(key, value)
        if actual != value:
            reason = f"{key} is {actual}, and the settings say {value}"
            findings.append(Finding(spec.name, reason, _ALTER, is_problem=False, fix={key: value}))
    return findings


def _partitions(spec: TopicSpec, described: Described) -> list[Finding]:
    has = described.partitions
    if spec.partitions is not None and has != spec.partitions:
        reason = (
            f"has {has} partitions, expected {spec.partitions}: it works for as long as there come no more, because "
            "generations count per partition"
        )
        return [Finding(spec.name, reason, "create it anew when convenient", is_problem=False)]
    if has < spec.at_least:
        reason = f"has {has} partitions, and {spec.at_least} are asked for"
        return [Finding(spec.name, reason, _ALTER, partitions=spec.at_least)]
    if spec.role is Role.REQUESTS and has == 1 and not spec.at_least:
        reason = "has one partition, so one worker at a time can answer it; perhaps it was created by being named"
        step = f"{_ALTER} --partitions {DEFAULT_PARTITIONS}"
        return [Finding(spec.name, reason, step, is_problem=False)]
    return []


def _beside(route: RouteSettings, topic: str, existing: Mapping[str, Described]) -> Iterable[Finding]:
    """Yield what does not fit between one request topic and those of its answers."""
    requests = existing.get(topic)
    if requests is None:
        return
    results, letters = existing.get(route.results_of(topic)), existing.get(route.dead_letters_of(topic))
    if results is not None and results.partitions < requests.partitions:
        reason = (
            f"has {results.partitions} partitions, and {topic} has {requests.partitions}: answers to requests on the "
            "others lie by their key, not by the number of the request's partition"
        )
        step = f"{_ALTER} --partitions {requests.partitions}"
        yield Finding(results.name, reason, step, is_problem=False, partitions=requests.partitions)
    if letters is None:
        return
    accepted, fits = (int(one.config.get("max.message.bytes", 0)) for one in (requests, letters))
    if 0 < fits < accepted:
        reason = f"max.message.bytes is {fits}, and {accepted} of {topic}: it refuses large dead letters"
        yield Finding(letters.name, reason, _ALTER, fix={"max.message.bytes": str(accepted)})
    waits_ms, kept_ms = _retention_ms(requests), _retention_ms(letters)
    if waits_ms is not None and kept_ms is not None and kept_ms < waits_ms:
        reason = f"retention.ms is {kept_ms}, less than that of {topic}: a letter vanishes before its neighbours"
        step = "raise it, so that somebody can look at what went wrong"
        yield Finding(letters.name, reason, step, is_problem=False)


def _retention_ms(described: Described) -> float | None:
    text = described.config.get("retention.ms")
    return None if text is None else float("inf") if text == "-1" else int(text)
