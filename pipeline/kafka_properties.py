"""librdkafka properties for each use of a Kafka client: our defaults below what the ``kafka:`` section sets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, Final

from pipeline.redaction import without_secrets

log = logging.getLogger(__name__)

Scalar = str | int | float | bool
_Provider = Callable[[str], tuple[str, float]]
Properties = dict[str, Scalar]

# Ours, among librdkafka's: the plugin that has the tokens of OAUTHBEARER. It is called on a thread of the client's with
# ``sasl.oauthbearer.config``, and returns the token and when it expires, in seconds since the epoch.
PROVIDER: Final = "sasl.oauthbearer.token.provider"

# Keys are placed as Java, kafkajs and franz-go place them, so that one key is one partition whoever produces.
_PRODUCER: Final[Properties] = {"enable.idempotence": True, "acks": "all", "partitioner": "murmur2_random"}
# What an aborted transaction wrote is nobody's: the answers of a worker that answers exactly once, sent again.
_READER: Final[Properties] = {"isolation.level": "read_committed"}
_SESSION_TIMEOUT_MS: Final = 45_000  # librdkafka's default
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
# How soon partitions that were added, and topics that match a pattern, are found; librdkafka's own is five minutes.
_REFRESH_MS: Final = 10_000


def address_of(kafka: Mapping[str, Scalar]) -> str:
    """Return where the brokers are, as librdkafka is told."""
    return str(kafka.get("bootstrap.servers", "localhost:9092"))


def _common(kafka: Mapping[str, Scalar], client_id: str, leave_out: tuple[str, ...]) -> Properties:
    chosen: dict[str, Any] = {key: value for key, value in kafka.items() if not key.startswith(leave_out)}
    provider = chosen.pop(PROVIDER, None)
    if provider is not None:
        from pipeline import plugins  # noqa: PLC0415  # loads what reads the metadata of packages, for this alone

        chosen["oauth_cb"] = _telling(str(provider), plugins.find(plugins.TOKENS, str(provider)), kafka)
    refresh: Properties = {"topic.metadata.refresh.interval.ms": _REFRESH_MS}
    return {"bootstrap.servers": address_of(kafka), "client.id": client_id, **refresh, **chosen}


def _telling(name: str, provide: _Provider, kafka: Mapping[str, Scalar]) -> _Provider:
    """Return a token provider that logs what it raises: the client of Kafka would keep it to itself."""

    def provide_or_tell(config: str) -> tuple[str, float]:
        try:
            return provide(config)
        except Exception as error:
            reason = without_secrets(f"{type(error).__name__}: {error}", kafka)
            log.error("token provider %r has no token: %s", name, reason)  # noqa: TRY400  # a traceback may show secrets
            raise

    return provide_or_tell


def _named(defaults: Mapping[str, Scalar]) -> Properties:
    return {key.replace("_", "."): value for key, value in defaults.items()}


def producer(kafka: Mapping[str, Scalar], client_id: str, **defaults: Scalar) -> Properties:
    """Return the properties of an idempotent producer; ``defaults`` (``_`` for ``.``) stand below the user's."""
    # Who shares a transactional.id fences the others; those that need one have one of their own.
    common = _common(kafka, client_id, (*_CONSUMER_ONLY, "transactional.id"))
    return {**_PRODUCER, **_named(defaults), **common}


def transactional_producer(
    kafka: Mapping[str, Scalar], client_id: str, transactional_id: str, **defaults: Scalar
) -> Properties:
    """Return the properties of a producer in transactions; see ``producer``.

    Unless ``kafka`` says otherwise, the broker ends the transaction of a worker that has died when its group lets it
    go, too: after the session timeout. A transaction follows the one before at once, and meets it half done: librdkafka
    would ask again after 100 ms, longer than a transaction takes.
    """
    timeout_ms = kafka.get("session.timeout.ms", _SESSION_TIMEOUT_MS)
    ours: Properties = {"transaction.timeout.ms": timeout_ms, "retry.backoff.ms": 1}
    return {**ours, **producer(kafka, client_id, **defaults), "transactional.id": transactional_id}


def group_consumer(
    kafka: Mapping[str, Scalar], client_id: str, group: str, *, is_static: bool = False, **more: Scalar
) -> Properties:
    """Return the properties of a member of a group: manual commits, cooperative rebalances, from the start if new.

    A static member is known by its client id, and has its partitions back when it returns within the session timeout.
    ``more`` (``_`` for ``.``) are further defaults, below the user's.
    """
    defaults: Properties = {"auto.offset.reset": "earliest", **_READER, **_named(more)}
    if is_static:
        defaults["group.instance.id"] = client_id
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
    chosen = {**_READER, **chosen}
    return {**chosen, "group.id": f"{client_id}-reader", "enable.auto.commit": False, "auto.offset.reset": "earliest"}


def admin(kafka: Mapping[str, Scalar], client_id: str) -> Properties:
    """Return the properties of an admin client."""
    return _common(kafka, client_id, _PRODUCER_ONLY + _CONSUMER_ONLY)
