"""What an error says of a transaction."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaError

from connectors.kafka.transaction_errors import Verdict, explain, has_group_moved, is_of_transaction, judge


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (KafkaError(KafkaError._TIMED_OUT, retriable=True), Verdict.REPEAT),
        (KafkaError(KafkaError.UNKNOWN_MEMBER_ID, txn_requires_abort=True), Verdict.ABORT),
        (KafkaError(KafkaError._INCONSISTENT, txn_requires_abort=True), Verdict.ABORT),
        (KafkaError(KafkaError._FENCED, fatal=True), Verdict.STOP),
        (KafkaError(KafkaError.GROUP_AUTHORIZATION_FAILED, txn_requires_abort=True), Verdict.STOP),
        (KafkaError(KafkaError.FENCED_INSTANCE_ID, txn_requires_abort=True), Verdict.STOP),
        (KafkaError(KafkaError._INVALID_ARG), Verdict.STOP),
    ],
)
def test_each_error_has_one_verdict(error, verdict):
    assert judge(error) is verdict


def test_a_message_that_failed_with_its_transaction_is_not_to_blame():
    assert is_of_transaction(KafkaError(KafkaError._PURGE_QUEUE))
    assert is_of_transaction(KafkaError(KafkaError._MSG_TIMED_OUT))
    assert not is_of_transaction(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE))


def test_a_group_that_has_moved_is_waited_for():
    assert has_group_moved(KafkaError(KafkaError.ILLEGAL_GENERATION))
    assert not has_group_moved(KafkaError(KafkaError._TIMED_OUT))


def test_who_is_fenced_is_told_what_to_do():
    assert "'one-g'" in explain(KafkaError(KafkaError._FENCED, fatal=True), "one-g")
    assert "worker.id" in explain(KafkaError(KafkaError.INVALID_PRODUCER_EPOCH), "one-g")
