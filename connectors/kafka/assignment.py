"""Assignment: the partitions that the group has given to this member: taken over, paused, let go."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from connectors.kafka.guarantee import Guarantee
from connectors.kafka.offsets import OffsetTracker, Partition
from connectors.kafka.suspects import Suspects
from pipeline.settings import RouteSettings

log = logging.getLogger(__name__)

# How long to wait for the committed offsets of partitions that have come.
_COMMITTED_TIMEOUT_S: Final = 10.0


class Assignment:
    """Follows the rebalances of one consumer. For the one thread that may use it (docs/decisions/0006)."""

    def __init__(
        self,
        route: RouteSettings,
        tracker: OffsetTracker,
        suspects: Suspects,
        changed: threading.Condition,
        forget_kept: Callable[[Collection[Partition]], None],
        guarantee: Guarantee,
    ) -> None:
        """``changed`` guards ``tracker`` and ``suspects``.

        ``forget_kept`` drops what has come of partitions and was not handed out.
        """
        self._route, self._tracker, self._suspects, self._changed = route, tracker, suspects, changed
        self._forget_kept, self._guarantee = forget_kept, guarantee
        self._is_paused = False
        self.is_closing = False  # nothing will be taken any more, and nobody waits for what is in flight

    def pause(self, consumer: Consumer) -> None:
        """Have nothing more fetched, of partitions that come later either. Idempotent."""
        if not self._is_paused:
            self._is_paused = True
            consumer.pause(consumer.assignment())

    def resume(self, consumer: Consumer) -> None:
        """Have all partitions fetched again. Idempotent."""
        if self._is_paused:
            self._is_paused = False
            consumer.resume(consumer.assignment())

    def on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Take partitions over, and hear how their last owners have ended."""
        log.info("assigned %s", _names(partitions))
        if self.is_closing:  # nothing will be taken from them
            consumer.incremental_assign(partitions)
            return
        self._ask_for_suspects(consumer, partitions)
        with self._changed:
            self._tracker.assign(_keys(partitions))
        consumer.incremental_assign(partitions)
        if self._is_paused:
            consumer.pause(partitions)
        else:  # one that was revoked while it was paused, and comes back, is paused still
            consumer.resume(partitions)
        self._guarantee.attend(consumer)

    def _ask_for_suspects(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Read how the last owners of these partitions have ended; what can not be read accuses nobody."""
        if not (self._route.poison_after_kills and partitions):  # a rebalance that brings nothing asks nothing
            return
        try:
            found = consumer.committed(partitions, _COMMITTED_TIMEOUT_S)
        except KafkaException as error:
            log.warning("not known how the last owner of %s has ended: %s", _names(partitions), error)
            return
        committed = {(each.topic, each.partition): (each.offset, each.metadata) for each in found if not each.error}
        with self._changed:
            suspected = self._suspects.assign(committed)
        for topic, partition in suspected:
            reason = "was killed with requests in flight: they are taken a few at a time now"
            log.warning("the last owner of %s[%d] %s", topic, partition, reason)

    def on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Answer what is in flight there, commit it, and let go: the next owner starts behind it."""
        log.info("revoked %s", _names(partitions))
        keys = _keys(partitions)
        if not self.is_closing:  # else it has been waited for already
            budget_s = self._route.revoke_timeout_s
            self._guarantee.attend(consumer, is_awaited=True)
            if not self._wait_for_answers(keys, budget_s):
                log.warning("revoked partitions were still in flight after %g s; they come again", budget_s)
        self._guarantee.settle(consumer, keys)
        self._forget(keys)
        consumer.incremental_unassign(partitions)

    def on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Forget without a commit: another member owns these already."""
        log.warning("lost %s", _names(partitions))
        self._forget(_keys(partitions))
        consumer.incremental_unassign(partitions)

    def _forget(self, keys: list[Partition]) -> None:
        with self._changed:
            self._tracker.revoke(keys)
            self._suspects.revoke(keys)
        self._forget_kept(keys)

    def _wait_for_answers(self, keys: list[Partition], timeout_s: float) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._tracker.in_flight(keys), timeout_s)


def _keys(partitions: list[TopicPartition]) -> list[Partition]:
    return [(partition.topic, partition.partition) for partition in partitions]


def _names(partitions: list[TopicPartition]) -> str:
    return ", ".join(f"{partition.topic}[{partition.partition}]" for partition in partitions) or "nothing"
