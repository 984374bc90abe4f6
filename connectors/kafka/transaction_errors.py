"""What an error says of a transaction: pure decisions on librdkafka's codes."""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from confluent_kafka import KafkaError

# Trying again does not help, though librdkafka would only abort.
_HOPELESS: Final = frozenset(
    {
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.FENCED_INSTANCE_ID,
    }
)
# The group went on without this member, or is about to: it has to hear of that first.
_GROUP_MOVED: Final = frozenset(
    {KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS}
)
_FENCED: Final = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})
# What a delivery report says when it is the transaction that has failed, and not this message.
_TRANSACTION_FAILED: Final = _FENCED | {
    KafkaError._PURGE_QUEUE,
    KafkaError._PURGE_INFLIGHT,
    KafkaError._MSG_TIMED_OUT,
    KafkaError._TIMED_OUT,
    KafkaError._STATE,
    KafkaError._FATAL,
    KafkaError._INCONSISTENT,
    KafkaError.INVALID_PRODUCER_ID_MAPPING,
    KafkaError.INVALID_TXN_STATE,
    KafkaError.OUT_OF_ORDER_SEQUENCE_NUMBER,
    KafkaError.UNKNOWN_PRODUCER_ID,
}


class Verdict(Enum):
    """What to do after a call of the transactional producer has failed."""

    REPEAT = auto()  # the same call
    ABORT = auto()  # the transaction, and send its batches again
    STOP = auto()  # the worker


def judge(error: KafkaError) -> Verdict:
    """Return what to do after an error of a transaction's own call."""
    if error.fatal() or error.code() in _HOPELESS:
        return Verdict.STOP
    if error.txn_requires_abort():
        return Verdict.ABORT
    return Verdict.REPEAT if error.retriable() else Verdict.STOP


def is_of_transaction(error: KafkaError) -> bool:
    """Return whether a message failed because its transaction did: what becomes of that, its next call tells."""
    return error.code() in _TRANSACTION_FAILED


def has_group_moved(error: KafkaError) -> bool:
    """Return whether the offsets were refused because the group has another generation."""
    return error.code() in _GROUP_MOVED


def explain(error: KafkaError, transactional_id: str) -> str:
    """Return what a person should know of an error that stops the worker."""
    if error.code() in _FENCED:
        return (
            f"fenced: another producer has taken over the transactional.id {transactional_id!r}, or the broker has "
            "ended its transaction after transaction.timeout.ms; two workers need two names (worker.id)"
        )
    return f"{error.str()} ({error.name()})"
