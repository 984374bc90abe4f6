"""JobQueue: asks a job as its JVM front end did, with JSON that the worker reads."""

from __future__ import annotations

import time
from typing import Final, Unpack

from pipeline.client.async_input_queue import AsyncInputQueue, outcome_of
from pipeline.client.queue import QueueOptions
from pipeline.client.wire import CONTENT_TYPE
from pipeline.codecs.cluster_serving import ClusterServingCodec, entry
from pipeline.codecs.cluster_serving.entry import Entry
from pipeline.errors import ConnectorError, PenstockError, RecordTooLarge, TimedOut
from pipeline.records import PredictResult

_DEADLINE: Final = "deadline-ms"


class JobQueue(AsyncInputQueue):
    """Sends instances to a route with ``format: cluster-serving``; their answers come here, not where theirs are."""

    def __init__(self, job: str, most_record_bytes: int, **options: Unpack[QueueOptions]) -> None:
        """``job`` is the name of the route; requests of more than ``most_record_bytes`` are not sent."""
        super().__init__(job, **options)
        self.job = job
        self._most_record_bytes = most_record_bytes

    @property
    def is_open(self) -> bool:
        """Whether ``ask`` has a connection; one that is broken since is one, too."""
        return self._own().is_open(to_send=True)

    @property
    def place(self) -> str:
        """The broker, as messages name it."""
        return self._own().address.place

    async def ask(self, instance: str, timeout_s: float) -> PredictResult:
        """Return the result, or error result, of an instance as ``instances.split`` has it.

        Does not connect: ``open`` does. Raises ConnectorError where there is no connection, or it is broken, TimedOut
        where only the answer is missing, RecordTooLarge.
        """
        deadline_s = time.monotonic() + timeout_s
        connection = self._own()
        if not connection.is_open(to_send=True):
            raise ConnectorError(connection.address.place, f"no connection yet{connection.trouble}")
        id_ = connection.new_id()
        value = entry.write(Entry(id_, instance, entry.STREAM))
        if len(value) > self._most_record_bytes:
            raise RecordTooLarge(len(value), self._most_record_bytes)
        until_ms = str(int((time.time() + timeout_s) * 1000))
        headers = [(CONTENT_TYPE, ClusterServingCodec.content_type), (_DEADLINE, until_ms)]
        request = connection.outgoing(id_, value, None, headers)
        try:
            outcome = await outcome_of(connection, request, deadline_s, timeout_s)
        except TimedOut as error:
            if str(connection.trouble):  # which its text tells, too
                raise ConnectorError(error.what, f"nothing within {timeout_s:g} s") from error
            raise
        if isinstance(outcome, PenstockError):
            raise outcome
        return outcome
