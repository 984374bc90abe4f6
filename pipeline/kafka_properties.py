"""librdkafka properties for each use of a Kafka client: our defaults below what the ``kafka:`` section sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pipeline import plugins

Scalar = str | int | float | bool
Properties = dict[str, Scalar]

# Ours, among librdkafka's: the plugin that has the tokens of OAUTHBEARER. It is called on a thread of the client's with
# ``sasl.oauthbearer.config``, and returns the token and when it expires, in seconds since the epoch.
_PROVIDER: Final = "sasl.oauthbearer.token.provider"

# Keys are placed as Java, kafkajs and franz-go place them, so that one key is one partition whoever produces.
_PRODUCER: Final[Properties] = {"enable.idempotence": True, "acks": "all", "partitioner": "murmur2_random"}
# What a user may set for consumers only; a producer would warn about each at every start.
_CONSUMER_ONLY: Final = (
    "group.", "auto.offset.reset", "session.", "max.poll.", "heartbeat.", "fetch.", "isolation.level", "queued.",
    "partition.assignment.strategy", "enable.auto.", "auto.commit.", "check.crcs",
)  # fmt: skip
_PRODUCER_ONLY: Final = (
    "enable.idempotence", "acks", "partitioner", "linger.ms", "batch.", "compression.", "queue.buffering.", "sticky.",
    "transactional.id", "transaction.", "message.timeout.ms", "delivery.", "request.required.acks", "retries",
    "message.send.max.retries", "enable.gapless.guarantee",
)  # fmt: skip


def _common(kafka: Mapping[str, Scalar], client_id: str, leave_out: tuple[str, ...]) -> Properties:
    chosen: dict[str, Any] = {key: value for key, value in kafka.items() if not key.startswith(leave_out)}
    provider = chosen.pop(_PROVIDER, None)
    if provider is not None:
        chosen["oauth_cb"] = plugins.find(plugins.TOKENS, str(provider))
    return {"bootstrap.servers": "localhost:9092", "client.id": client_id, **chosen}


def producer(kafka: Mapping[str, Scalar], client_id: str, **defaults: Scalar) -> Properties:
    """Return the properties of an idempotent producer; ``defaults`` (``_`` for ``.``) stand below the user's."""
    given = {key.replace("_", "."): value for key, value in defaults.items()}
    return {**_PRODUCER, **given, **_common(kafka, client_id, _CONSUMER_ONLY)}


def group_consumer(kafka: Mapping[str, Scalar], client_id: str, group: str) -> Properties:
    """Return the properties of a member of a group: manual commits, cooperative rebalances, from the start if new."""
    defaults: Properties = {"auto.offset.reset": "earliest"}
    if kafka.get("group.protocol") != "consumer":  # there the broker assigns, and refuses to be told how
        defaults["partition.assignment.strategy"] = "cooperative-sticky"
    return {**defaults, **_common(kafka, client_id, _PRODUCER_ONLY), "group.id": group, "enable.auto.commit": False}


def reader(kafka: Mapping[str, Scalar], client_id: str) -> Properties:
    """Return the properties of a consumer that belongs to no group and is told its partitions.

    librdkafka wants a ``group.id`` all the same; it is never joined, and nothing is committed.
    """
    chosen = {
        key: value for key, value in _common(kafka, client_id, _PRODUCER_ONLY).items() if not key.startswith("group.")
    }
    return {**chosen, "group.id": f"{client_id}-reader", "enable.auto.commit": False, "auto.offset.reset": "earliest"}


def admin(kafka: Mapping[str, Scalar], client_id: str) -> Properties:
    """Return the properties of an admin client."""
    return _common(kafka, client_id, _PRODUCER_ONLY + _CONSUMER_ONLY)
