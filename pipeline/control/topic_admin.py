"""Looking at topics on a broker, creating those that are missing, and changing those that are wrong."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
)

from pipeline import kafka_properties
from pipeline.control.admin import Admin
from pipeline.control.topic_findings import Described, Finding, TopicReport, examine
from pipeline.control.topics import DEFAULT_PARTITIONS, TopicSpec, wanted
from pipeline.errors import AccessDenied, ConnectorError
from pipeline.kafka_access import Acl

if TYPE_CHECKING:
    from pipeline.settings import Settings

BROKER_DEFAULT: Final = -1
# With so many copies, an answer counts as accepted when two of them have it, so that one broker may be lost.
_SAFE_COPIES: Final = 3
_SAFE: Final = {"min.insync.replicas": "2"}

# How long a change may take, and then until all brokers show it.
_DONE_TIMEOUT_S: Final = 30.0
_SEEN_TIMEOUT_S: Final = 10.0
_SEEN_INTERVAL_S: Final = 0.05

Kafka = Mapping[str, kafka_properties.Scalar]


def names(kafka: Kafka, timeout_s: float = 10.0) -> list[str]:
    """Return the names of all topics that there are. Blocks for ``timeout_s`` at most; raises ConnectorError."""
    admin = Admin(kafka)
    try:
        return list(admin.list_topics(timeout=timeout_s).topics)
    except KafkaException as error:
        raise admin.failure(error) from error


def describe(kafka: Kafka, names: Iterable[str], timeout_s: float = 10.0) -> dict[str, Described]:
    """Return those of the topics that exist, by name. Blocks for twice ``timeout_s`` at most.

    Raises ConnectorError where no broker answers. Settings that it does not tell are no error; see Described.
    """
    admin = Admin(kafka)
    try:
        # All of them: asking for one by name would create it on a broker that creates topics by their being named.
        existing = admin.list_topics(timeout=timeout_s).topics
    except KafkaException as error:
        raise admin.failure(error) from error
    found = [name for name in dict.fromkeys(names) if name in existing]
    resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in found]
    futures = admin.describe_configs(resources, request_timeout=timeout_s) if resources else {}
    described = {}
    for resource, future in futures.items():
        name, config, reason = resource.name, {}, ""
        try:
            config = {entry.name: entry.value or "" for entry in future.result().values()}
        except KafkaException as error:
            reason = f"{error.args[0].str()} ({error.args[0].name()})"
        partitions = existing[name].partitions
        copies = min((len(partition.replicas) for partition in partitions.values()), default=0)
        described[name] = Described(name, len(partitions), copies, config, reason)
    return described


def create_missing(
    kafka: Kafka,
    specs: Iterable[TopicSpec],
    partitions: int = DEFAULT_PARTITIONS,
    replication: int = BROKER_DEFAULT,
) -> list[str]:
    """Create those of the topics that do not exist, and return their names; the others stay as they are.

    ``partitions`` is for those whose spec leaves the number open; ``replication`` of -1 is the broker's default. Blocks
    until the broker has created them. Raises ConnectorError; topics that were created before the failure stay.
    """
    specs = [spec for spec in specs if not spec.is_pattern]
    existing = set(names(kafka))
    new = [_new_topic(spec, partitions, replication) for spec in specs if spec.name not in existing]
    if not new:
        return []
    admin = Admin(kafka)  # held: its futures fail when it goes
    futures = admin.create_topics(new, operation_timeout=_DONE_TIMEOUT_S, request_timeout=_DONE_TIMEOUT_S)
    # Where somebody was faster, that is as good.
    exists = KafkaError.TOPIC_ALREADY_EXISTS
    created = [
        name for name, future in futures.items() if _is_done(admin, Acl("topic", name, "Create"), future, exists)
    ]
    _wait_until_seen(lambda: set(created) <= set(names(kafka)))
    return created


def alter(kafka: Kafka, findings: Iterable[Finding]) -> list[str]:
    """Change topics to what the findings say of them, and return their names. Partitions are added, never removed.

    Blocks until the broker has done it. Raises ConnectorError; what was changed before the failure stays.
    """
    configs: dict[str, dict[str, str]] = {}
    counts: dict[str, int] = {}
    for finding in findings:
        if finding.fix:
            configs.setdefault(finding.topic, {}).update(finding.fix)
        if finding.partitions:
            counts[finding.topic] = max(finding.partitions, counts.get(finding.topic, 0))
    admin = Admin(kafka)
    changed: list[str] = []
    if configs:
        futures = admin.incremental_alter_configs(
            [_new_config(*item) for item in configs.items()], request_timeout=_DONE_TIMEOUT_S
        )
        changed += [
            resource.name
            for resource, future in futures.items()
            if _is_done(admin, Acl("topic", resource.name, "AlterConfigs"), future)
        ]
    if counts:
        more = [NewPartitions(name, count) for name, count in counts.items()]
        grown = admin.create_partitions(more, operation_timeout=_DONE_TIMEOUT_S, request_timeout=_DONE_TIMEOUT_S)
        changed += [
            name
            for name, future in grown.items()
            if _is_done(admin, Acl("topic", name, "Alter"), future, KafkaError.INVALID_PARTITIONS)
        ]
    done = list(dict.fromkeys(changed))
    _wait_until_seen(lambda: all(_has(topic, configs, counts) for topic in describe(kafka, done).values()))
    return done


def inspect(
    settings: Settings, timeout_s: float = 10.0, adjust: Callable[[TopicSpec], TopicSpec] = lambda spec: spec
) -> list[TopicReport]:
    """Return what the broker has of each topic that is needed, and what is wrong with it.

    ``adjust`` may ask for more of a topic than the settings do. Blocks; raises ConnectorError.
    """
    is_needed = any(route.is_pattern and route.connector == "kafka" for route in settings.routes.values())
    specs = [adjust(spec) for spec in wanted(settings, names(settings.kafka, timeout_s) if is_needed else ())]
    return examine(settings, specs, describe(settings.kafka, [spec.name for spec in specs], timeout_s))


def _new_topic(spec: TopicSpec, partitions: int, replication: int) -> NewTopic:
    copies = spec.replication or replication
    safe = _SAFE if copies >= _SAFE_COPIES else {}
    count = spec.partitions or spec.at_least or partitions
    return NewTopic(spec.name, num_partitions=count, replication_factor=copies, config={**safe, **spec.config})


def _new_config(topic: str, fix: Mapping[str, str]) -> ConfigResource:
    to_set = [ConfigEntry(key, value, incremental_operation=AlterConfigOpType.SET) for key, value in fix.items()]
    return ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=to_set)


def _has(topic: Described, configs: Mapping[str, Mapping[str, str]], counts: Mapping[str, int]) -> bool:
    config = topic.config or configs.get(topic.name, {})  # settings that are not told are not waited for
    is_set = all(config.get(key) == value for key, value in configs.get(topic.name, {}).items())
    return is_set and topic.partitions >= counts.get(topic.name, 0)


def _wait_until_seen(is_seen: Callable[[], bool]) -> None:
    """Wait until the brokers show what the controller has done, so that the next look does not find it missing."""
    deadline_s = time.monotonic() + _SEEN_TIMEOUT_S
    while not is_seen() and time.monotonic() < deadline_s:
        time.sleep(_SEEN_INTERVAL_S)


def _is_done(admin: Admin, acl: Acl, future: Any, as_good: int | None = None) -> bool:
    """Wait; return False where the broker refused with ``as_good``, which is no failure. ``acl`` is what it needs."""
    try:
        future.result()
    except KafkaException as error:
        if error.args[0].code() != as_good:
            failure = admin.failure(error, acl)
            is_denied = isinstance(failure, AccessDenied)
            raise failure if is_denied else ConnectorError(f"topic {acl.name}", error.args[0].str()) from error
        return False
    return True
