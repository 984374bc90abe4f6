"""Looking at topics on a broker, and creating those that are missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # re-exported without saying so
    ConfigResource,
    NewTopic,
)

from pipeline import kafka_properties
from pipeline.control.admin import Admin
from pipeline.control.topics import DEFAULT_PARTITIONS, Described, Finding, TopicSpec, compare, wanted
from pipeline.errors import AccessDenied, ConnectorError
from pipeline.kafka_access import Acl
from pipeline.kafka_refusals import DENIED

if TYPE_CHECKING:
    from pipeline.settings import Settings

BROKER_DEFAULT: Final = -1

Kafka = Mapping[str, kafka_properties.Scalar]


class TopicReport(msgspec.Struct, frozen=True):
    """A topic that is needed, the one that exists (None: it does not), and what differs."""

    spec: TopicSpec
    described: Described | None
    findings: Sequence[Finding]


def describe(kafka: Kafka, names: Iterable[str], timeout_s: float = 10.0) -> dict[str, Described]:
    """Return those of the topics that exist, by name. Blocks for twice ``timeout_s`` at most; raises ConnectorError."""
    admin = Admin(kafka)
    try:
        # All of them: asking for one by name would create it on a broker that creates topics by their being named.
        existing = admin.list_topics(timeout=timeout_s).topics
        found = [name for name in dict.fromkeys(names) if name in existing]
        resources = [ConfigResource(ConfigResource.Type.TOPIC, name) for name in found]
        futures = admin.describe_configs(resources, request_timeout=timeout_s) if resources else {}
        configs = {resource.name: _entries(future) for resource, future in futures.items()}
    except KafkaException as error:
        raise admin.failure(error) from error
    described = {}
    for name in found:
        partitions = existing[name].partitions
        copies = min((len(partition.replicas) for partition in partitions.values()), default=0)
        config = {entry.name: entry.value or "" for entry in configs[name].values()}
        described[name] = Described(name, len(partitions), copies, config)
    return described


def create_missing(
    kafka: Kafka,
    specs: Iterable[TopicSpec],
    partitions: int = DEFAULT_PARTITIONS,
    replication: int = BROKER_DEFAULT,
    timeout_s: float = 30.0,
) -> list[str]:
    """Create those of the topics that do not exist, and return their names; the others stay as they are.

    ``partitions`` is for those whose spec leaves the number open; ``replication`` of -1 is the broker's default. Blocks
    until the broker has created them. Raises ConnectorError; topics that were created before the failure stay.
    """
    specs = list(specs)
    existing = describe(kafka, [spec.name for spec in specs])
    new = [
        NewTopic(
            spec.name,
            num_partitions=spec.partitions or partitions,
            replication_factor=replication,
            config=dict(spec.config),
        )
        for spec in specs
        if spec.name not in existing
    ]
    if not new:
        return []
    created = []
    admin = Admin(kafka)  # held: its futures fail when it goes
    futures = admin.create_topics(new, operation_timeout=timeout_s, request_timeout=timeout_s)
    for name, future in futures.items():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:  # somebody was faster, which is as good
                raise _refused(admin, name, error) from error
        else:
            created.append(name)
    return created


def inspect(kafka: Kafka, specs: Iterable[TopicSpec], timeout_s: float = 10.0) -> list[TopicReport]:
    """Return what the broker has of each topic, and what is wrong with it. Blocks; raises ConnectorError."""
    specs = list(specs)
    existing = describe(kafka, [spec.name for spec in specs], timeout_s)
    return [TopicReport(spec, existing.get(spec.name), compare(spec, existing.get(spec.name))) for spec in specs]


def check_topics(settings: Settings, timeout_s: float = 10.0) -> list[Finding]:
    """Return everything that is wrong with the topics that these settings need. Blocks; raises ConnectorError."""
    reports = inspect(settings.kafka, wanted(settings), timeout_s)
    return [finding for report in reports for finding in report.findings]


def _entries(future: Any) -> Mapping[str, Any]:
    """Return the settings of a topic; none where this client may not look at them."""
    try:
        entries: Mapping[str, Any] = future.result()
    except KafkaException as error:
        if error.args[0].code() not in DENIED:
            raise
        return {}
    return entries


def _refused(admin: Admin, topic: str, error: KafkaException) -> ConnectorError:
    failure = admin.failure(error, Acl("topic", topic, "Create"))
    return failure if isinstance(failure, AccessDenied) else ConnectorError(f"topic {topic}", error.args[0].str())
