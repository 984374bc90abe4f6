"""Which ACLs a worker needs, and which of them it lacks: the list of docs/security.md as code."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AclOperation  # type: ignore[attr-defined]  # re-exported without saying so

from pipeline.control import topics
from pipeline.control.admin import Admin
from pipeline.control.topics import Role
from pipeline.errors import AccessDenied, ConnectorError
from pipeline.kafka_access import Acl, Operation, denied
from pipeline.kafka_refusals import DENIED

if TYPE_CHECKING:
    from pipeline.kafka_properties import Scalar
    from pipeline.settings import Settings

_OF_ROLE: Final[Mapping[Role, tuple[Operation, ...]]] = {
    Role.REQUESTS: ("Read",),
    Role.RESULTS: ("Write",),
    Role.DEAD_LETTERS: ("Write",),
    Role.ASPIRED: ("Read",),
    Role.STATES: ("Write", "Read"),
    Role.OTHER: (),
}
_CODES: Final = {"Read": AclOperation.READ, "Write": AclOperation.WRITE}


class Permissions(msgspec.Struct, frozen=True):
    """What was found: an error for each ACL that is lacked, and the topics that can not even be seen."""

    lacked: list[AccessDenied]
    unseen: frozenset[str]


def wanted(settings: Settings, existing: Iterable[str] = ()) -> list[Acl]:
    """Return the ACLs that a worker with these settings needs, each once; as a watcher too, where it is one. Pure.

    ``existing`` are the names of the topics that there are, for routes whose request topic is a pattern.
    """
    acls: dict[Acl, None] = {}
    for route in settings.routes.values():
        if route.connector == "kafka":
            acls[Acl("group", route.group, "Read")] = None
            if route.guarantee == "exactly_once":
                acls[Acl("transactional-id", "penstock-", "Write", is_prefix=True)] = None
    for spec in topics.wanted(settings, existing):
        for operation in () if spec.is_pattern else _OF_ROLE[spec.role]:
            acls[Acl("topic", spec.name, operation)] = None
    if settings.watch.in_worker and settings.control.connector != "redis":
        acls[Acl("topic", settings.control.aspired_topic, "Write")] = None
    return list(acls)


def look(kafka: Mapping[str, Scalar], acls: Iterable[Acl], timeout_s: float = 10.0) -> Permissions:
    """Ask the broker which of these this client lacks; a broker that tells nobody what he may do finds none lacked.

    Topics and groups are asked for; the ACLs of transactional ids are told by nobody. Changes nothing: a topic that
    does not exist is not made by being asked for. Blocks for three times ``timeout_s`` at most; raises ConnectorError
    where no broker answers.
    """
    acls = list(acls)
    admin = Admin(kafka)
    try:
        admin.list_topics(timeout=timeout_s)  # where no broker answers, this says why
    except KafkaException as error:
        raise admin.failure(error) from error
    named = [acl.name for acl in acls if acl.resource_type == "topic"]
    groups = [acl.name for acl in acls if acl.resource_type == "group"]
    allowed: dict[tuple[str, str], Any] = {}
    futures: list[tuple[str, str, Any]] = []
    options: dict[str, Any] = {"include_authorized_operations": True, "request_timeout": timeout_s}
    if named:
        found = admin.describe_topics(TopicCollection(list(dict.fromkeys(named))), **options)
        futures += [("topic", name, future) for name, future in found.items()]
    if groups:
        found = admin.describe_consumer_groups(list(dict.fromkeys(groups)), **options)
        futures += [("group", name, future) for name, future in found.items()]
    for kind, name, future in futures:
        try:
            allowed[kind, name] = future.result().authorized_operations
        except KafkaException as error:
            allowed[kind, name] = _judge(admin, error)
    lacked = [denied(kafka, acl) for acl in acls if _is_lacked(acl, allowed.get((acl.resource_type, acl.name)))]
    unseen = frozenset(name for (kind, name), operations in allowed.items() if kind == "topic" and operations == ())
    return Permissions(lacked, unseen)


def _judge(admin: Admin, error: KafkaException) -> tuple[()] | None:
    """Return that nothing is allowed, or None where it is not known; raises where nothing can be known of any."""
    reason: KafkaError = error.args[0]
    if reason.code() in DENIED:
        return ()
    if reason.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError.GROUP_ID_NOT_FOUND):
        return None
    failure: ConnectorError = admin.failure(error)
    raise failure from error


def _is_lacked(acl: Acl, operations: Any) -> bool:
    """Whether an operation is not among those that are allowed; None, and an empty list, are not known."""
    if operations == ():
        return True
    return bool(operations) and _CODES[acl.operation] not in operations
