"""Reads a topic from its beginning to its end, as a reader of committed records does."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from typing import Self

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from tests.acceptance.workers import wait_for

END_S = 120.0


class Collector:
    """Hands each record of a topic to ``take``, on a thread of its own, in the order of each partition's log."""

    def __init__(self, bootstrap: str, topic: str, take: Callable[[Message], None]) -> None:
        self._topic, self._take = topic, take
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "chaos-collector",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "log_level": 0,
            }
        )
        self._ends: dict[int, int] = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._collect, name=f"chaos-collector-{topic}")
        self._error: BaseException | None = None

    def __enter__(self) -> Self:
        partitions = self._consumer.list_topics(self._topic, 30).topics[self._topic].partitions
        self._places = [TopicPartition(self._topic, partition, 0) for partition in partitions]
        self._consumer.assign(self._places)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()
        self._consumer.close()

    def read_to_the_end(self) -> None:
        """Return when everything was taken that the topic holds now: nobody may be writing any more.

        The end is that of the log, transactions that were left open included: it is reached when these have ended.
        """
        ends = ends_of(self._admin, self._places)

        def reached() -> bool:
            if self._error is not None:
                raise self._error
            return all(self._ends.get(partition, 0) >= end for (_, partition), end in ends.items())

        wait_for(f"the end of {self._topic}, {ends}", reached, timeout_s=END_S)

    def _collect(self) -> None:
        try:
            while not self._is_over.is_set():
                for message in self._consumer.consume(500, 0.1):
                    self._note(message)
        except BaseException as error:  # noqa: BLE001  # told to whoever waits for the end
            self._error = error

    def _note(self, message: Message) -> None:
        error, partition, offset = message.error(), message.partition(), message.offset()
        if error is None:
            self._take(message)
        elif error.code() == KafkaError._PARTITION_EOF and partition is not None and offset is not None:
            self._ends[partition] = offset


def ends_of(admin: AdminClient, places: list[TopicPartition]) -> dict[tuple[str, int], int]:
    """Return the end of each partition's log; waits while a broker is away."""
    deadline_s = time.monotonic() + END_S
    while True:
        with contextlib.suppress(KafkaException):
            futures = admin.list_offsets(
                {TopicPartition(place.topic, place.partition): OffsetSpec.latest() for place in places},
                isolation_level=IsolationLevel.READ_UNCOMMITTED,
                request_timeout=30,
            )
            return {(place.topic, place.partition): future.result(30).offset for place, future in futures.items()}
        assert time.monotonic() < deadline_s, f"no ends of {places} within {END_S:g} s"
