"""The transaction of a producer: one at a time, begun, and committed or aborted as the broker allows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition

from connectors.kafka.refusals import Refusals
from connectors.kafka.transaction_errors import Verdict, judge

log = logging.getLogger(__name__)

# How long one call waits for the broker before it is repeated.
CALL_S: Final = 2.0


class AbortedError(Exception):
    """The transaction has to be aborted, and its batches sent again; ``error`` where it was the broker who said so."""

    def __init__(self, reason: str, error: KafkaError | None = None) -> None:
        super().__init__(reason)
        self.error = error


class Transaction:
    """For one thread, but for ``hangs``. Its methods block, and call again until the broker has answered.

    Where ``take_over``, ``commit`` and ``abort`` can not go on they raise AbortedError, ConnectorError for what does
    not heal, or what ``check_time`` raises, which is called before a call is repeated.
    """

    def __init__(
        self, producer: Producer, id_: str, timeout_s: float, refusals: Refusals, check_time: Callable[[], None]
    ) -> None:
        """``id_`` is the producer's ``transactional.id``, and ``timeout_s`` its ``transaction.timeout.ms``."""
        self._producer, self._id, self._refusals, self._check_time = producer, id_, refusals, check_time
        self._timeout_s = timeout_s
        self._called_s: float | None = None  # when the call that goes on was made
        self._is_begun = False
        self.begun_s = 0.0

    @property
    def hangs(self) -> bool:
        """Whether a call has not come back, though the broker has ended its transaction since. From any thread.

        librdkafka waits without end for a group's coordinator that leaves the cluster at the wrong moment, whatever
        time it was given (its issue 5511, since 2.9).
        """
        called_s = self._called_s
        return called_s is not None and time.monotonic() > called_s + CALL_S + self._timeout_s

    def take_over(self) -> None:
        """End what a producer of this name has left open, and fence it. Before all else."""
        self._call(self._producer.init_transactions)

    def begin(self) -> None:
        """Begin, where that was not done. Does not block."""
        if not self._is_begun:
            self._made(self._producer.begin_transaction)
            self._is_begun, self.begun_s = True, time.monotonic()

    def commit(self, offsets: list[TopicPartition], committer: Any) -> None:
        """Commit what was produced, and the offsets for the group's member whose metadata ``committer`` is."""
        self._call(self._producer.send_offsets_to_transaction, offsets, committer)
        self._call(self._producer.commit_transaction)
        self._is_begun = False

    def abort(self) -> None:
        """Have the broker forget what was produced, if anything was begun."""
        if self._is_begun:
            self._call(self._producer.abort_transaction)
        self._is_begun = False

    def leave(self) -> None:
        """Abort at the end, by one call: where it fails, the broker aborts later. Raises nothing."""
        if self._is_begun:
            try:
                self._producer.abort_transaction(CALL_S)
            except KafkaException as failure:
                log.debug("the broker ends the transaction: %s", failure)

    def _call(self, call: Callable[..., object], *arguments: object) -> None:
        while True:
            try:
                self._made(call, *arguments, CALL_S)
            except KafkaException as failure:
                error: KafkaError = failure.args[0]
                verdict = judge(error)
                if verdict is Verdict.STOP:
                    raise self._refusals.of_transaction(error, self._id) from failure
                if verdict is Verdict.ABORT:
                    raise AbortedError(error.str(), error) from failure
                log.warning("%s (%s); trying again", error.str(), error.name())
                self._check_time()
            else:
                return

    def _made(self, call: Callable[..., object], *arguments: object) -> None:
        self._called_s = time.monotonic()
        try:
            call(*arguments)
        finally:
            self._called_s = None
