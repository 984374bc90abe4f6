"""AsyncOutputQueue: the OutputQueue for asyncio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Self, Unpack

from pipeline.client.connection import Connection
from pipeline.client.hand_out import HandOut, Read
from pipeline.client.input_queue import FLUSH_TIMEOUT_S, timed_out, value_or_raise
from pipeline.client.link import GroupReader, group_reader_of
from pipeline.client.output_queue import LOOK_S, ValueOrError, refuse_group, value_or_error
from pipeline.client.queue import Queue, QueueOptions
from pipeline.client.reply_table import Outcome, ReplyTable
from pipeline.client.values import Value
from pipeline.client.waiting import Opening, wait
from pipeline.errors import PenstockError
from pipeline.records import PredictResult


class AsyncOutputQueue(Queue):
    """See OutputQueue: the same verbs as coroutines, on the same connection, which sync queues may share.

    Every coroutine may be cancelled without losing a result: what a cancelled call would have returned, the next one
    does. A group is read by one thread at a time, everything else without threads.
    """

    def __init__(self, route: str = "serving", *, group: str | None = None, **options: Unpack[QueueOptions]) -> None:
        """See OutputQueue."""
        super().__init__(route, **options)
        self._group = group
        self._opening = Opening()
        self._reader: GroupReader | None = None
        self._reading: asyncio.Task[Sequence[Read]] | None = None
        self._looking: dict[str, asyncio.Task[Outcome | None]] = {}  # into the store, their callers cancelled
        self._hand_out = HandOut()
        self._turn = asyncio.Lock()  # one reading of a group at a time

    async def open(self) -> Self:
        """See OutputQueue."""
        if self._group is None:
            await self._table()
        else:
            await asyncio.to_thread(self._group_reader, self._group)
        return self

    async def query(self, uri: str, delete: bool = False, timeout: float = 0.0) -> Value | None:  # noqa: ASYNC109, FBT001, FBT002  # the ancestor's verb
        """See OutputQueue."""
        outcome = await self._find(uri, timeout, is_kept=not delete)
        return None if outcome is None else value_or_raise(outcome)

    async def query_and_delete(self, uri: str, timeout: float = 0.0) -> Value | None:  # noqa: ASYNC109  # as in OutputQueue
        """See OutputQueue."""
        return await self.query(uri, delete=True, timeout=timeout)

    async def result(self, uri: str, timeout: float = 5.0) -> PredictResult:  # noqa: ASYNC109  # as in OutputQueue
        """See OutputQueue."""
        outcome = await self._find(uri, timeout, is_kept=False)
        if outcome is None:
            raise timed_out(self._own(), uri, timeout)
        if isinstance(outcome, PenstockError):
            raise outcome
        return outcome

    async def dequeue(self, timeout: float = 0.0) -> dict[str, ValueOrError]:  # noqa: ASYNC109  # as in OutputQueue
        """See OutputQueue."""
        return {id_: value_or_error(outcome) for id_, outcome in (await self._take(timeout)).items()}

    async def results(self, timeout: float = 5.0) -> AsyncIterator[tuple[str, ValueOrError]]:  # noqa: ASYNC109  # as in OutputQueue
        """See OutputQueue."""
        while outcomes := await self._take(timeout, 1):
            for id_, outcome in outcomes.items():
                yield id_, value_or_error(outcome)

    async def close(self, timeout: float = FLUSH_TIMEOUT_S) -> None:  # noqa: ASYNC109  # as in OutputQueue
        """See OutputQueue; what a cancelled call has read in a group is left to be read again."""
        await self._close(timeout, is_handled=True)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close(FLUSH_TIMEOUT_S, is_handled=error is None)

    async def _close(self, timeout_s: float, *, is_handled: bool) -> None:
        deadline_s = time.monotonic() + timeout_s
        reading, self._reading = self._reading, None
        if reading is not None:
            await asyncio.wait([reading])
        reader, self._reader = self._reader, None
        if reader is not None:
            if is_handled:
                self._hand_out.settle()
            await asyncio.to_thread(reader.close, timeout_s, self._hand_out.done())
        await asyncio.to_thread(self._release, max(0.0, deadline_s - time.monotonic()))

    async def _table(self) -> ReplyTable:
        connection = self._own()
        if not connection.is_open(to_send=False):
            await self._opening.open(connection, self._connect_timeout_s, to_send=False)
        return connection.table

    def _group_reader(self, group: str) -> GroupReader:
        client_id = self.client_id  # raises where this is closed
        if self._reader is None:
            self._reader = group_reader_of(self._address, group, client_id, self._connect_timeout_s)
        return self._reader

    async def _find(self, uri: str, timeout_s: float, *, is_kept: bool) -> Outcome | None:
        refuse_group(self._group)
        deadline_s = time.monotonic() + timeout_s
        table, connection = await self._table(), self._own()
        look_s = LOOK_S if connection.has_store else timeout_s
        while True:
            outcome = table.get(uri) if is_kept else table.pop(uri)
            if outcome is None and connection.has_store:
                outcome = await self._stored(connection, uri, is_kept=is_kept)
            left_s = deadline_s - time.monotonic()
            if outcome is not None or left_s <= 0:
                return outcome
            await wait(table, uri, min(left_s, look_s))
            self._own()  # raises where it was closed meanwhile

    async def _stored(self, connection: Connection, id_: str, *, is_kept: bool) -> Outcome | None:
        """Look into the store on a thread; what a cancelled caller has taken out of it is the next one's."""
        earlier = self._looking.pop(id_, None)
        looking = earlier or asyncio.create_task(asyncio.to_thread(connection.stored, id_, is_kept=is_kept))
        try:
            outcome = await asyncio.shield(looking)
        except asyncio.CancelledError:
            if earlier is not None or not is_kept:
                self._looking[id_] = looking
            raise
        if earlier is not None and is_kept and isinstance(outcome, PredictResult):
            connection.table.expect(id_)
            connection.table.put(id_, outcome)
        return outcome

    async def _take(self, timeout_s: float, limit: int | None = None) -> dict[str, Outcome]:
        if self._group is not None:
            return await self._read(self._group, timeout_s, limit)
        deadline_s = time.monotonic() + timeout_s
        table = await self._table()
        while True:
            outcomes = table.drain(limit)
            left_s = deadline_s - time.monotonic()
            if outcomes or left_s <= 0:
                return outcomes
            await wait(table, None, left_s)
            self._own()

    async def _read(self, group: str, timeout_s: float, limit: int | None) -> dict[str, Outcome]:
        """Read a group on a thread; a reading whose caller was cancelled is the next caller's."""
        async with self._turn:
            self._own()  # raises where it is closed
            hand_out = self._hand_out
            hand_out.settle()
            if hand_out.is_empty:
                reading = self._reading
                if reading is None:
                    done = hand_out.done()
                    reading = asyncio.create_task(
                        asyncio.to_thread(lambda: self._group_reader(group).read(timeout_s, done))
                    )
                    self._reading = reading
                await asyncio.wait([reading])
                self._reading = None
                hand_out.add(reading.result())
            return hand_out.take(limit)
