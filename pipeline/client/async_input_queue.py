"""AsyncInputQueue: the InputQueue for asyncio."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterable, Iterable, Mapping
from types import TracebackType
from typing import Final, Self, Unpack

from pipeline.client.connection import Connection
from pipeline.client.input_queue import (
    FLUSH_TIMEOUT_S,
    SEND_TIMEOUT_S,
    build,
    deadline_after,
    encode,
    timed_out,
    value_or_raise,
    with_deadline,
)
from pipeline.client.outgoing import Outgoing
from pipeline.client.queue import Queue, QueueOptions
from pipeline.client.reply_table import Outcome
from pipeline.client.request import RequestData, RequestOptions, parse
from pipeline.client.values import Value
from pipeline.client.waiting import Opening, deliver_to
from pipeline.client.wire import check_format
from pipeline.errors import ConnectorError

log = logging.getLogger(__name__)

_FULL_SLEEP_S: Final = 0.005

Item = tuple[str | None, Mapping[str, object]]  # uri, data


class AsyncInputQueue(Queue):
    """See InputQueue: the same verbs as coroutines, on the same connection, which sync queues may share.

    Any number of tasks of one loop may use it; there is no thread per request. Every coroutine may be cancelled: a
    request that was sent stays sent, and its answer is dropped if ``predict`` waited for it.
    """

    def __init__(
        self,
        route: str = "serving",
        *,
        servable: str = "",
        format: str = "avro",  # noqa: A002  # the settings' word
        **options: Unpack[QueueOptions],
    ) -> None:
        """See InputQueue."""
        super().__init__(route, **options)
        self._servable = servable
        self._format = check_format(format)
        self._opening = Opening()

    async def open(self) -> Self:
        """See InputQueue."""
        await self._connect()
        return self

    async def enqueue(self, uri: str | None = None, **data: object) -> str:
        """See InputQueue."""
        return await self.send(data, id=uri)

    async def send(
        self,
        request_data: RequestData,
        *,
        id: str | None = None,  # noqa: A002  # the record's word
        **options: Unpack[RequestOptions],
    ) -> str:
        """See InputQueue."""
        connection = await self._connect()
        request = build(connection, self._servable, parse(request_data), id, options)
        connection.table.expect(request.id)
        await _send(connection, encode(connection, self._format, request, options))
        return request.id

    async def enqueue_many(
        self,
        items: Iterable[Item] | AsyncIterable[Item],
        **options: Unpack[RequestOptions],
    ) -> list[str]:
        """See InputQueue; the items may come from an asynchronous iterable. Lets other tasks run now and then."""
        if isinstance(items, AsyncIterable):
            return [await self.send(data, id=uri, **options) async for uri, data in items]
        ids: list[str] = []
        for uri, data in items:
            ids.append(await self.send(data, id=uri, **options))
            if len(ids) % 100 == 0:
                await asyncio.sleep(0)
        return ids

    async def predict(
        self,
        request_data: RequestData,
        timeout: float = 5.0,  # noqa: ASYNC109  # the ancestor's argument
        **options: Unpack[RequestOptions],
    ) -> Value:
        """See InputQueue."""
        deadline_s = deadline_after(timeout)
        request = parse(request_data)
        connection = await self._connect(timeout)
        options = with_deadline(options, request, timeout)
        options["replies"] = "here"
        request = build(connection, self._servable, request, connection.new_id(), options)
        outgoing = encode(connection, self._format, request, options)
        return value_or_raise(await outcome_of(connection, outgoing, deadline_s, timeout))

    async def flush(self, timeout: float = FLUSH_TIMEOUT_S) -> None:  # noqa: ASYNC109  # as in InputQueue
        """See InputQueue."""
        connection = self._own()
        if connection.is_open(to_send=True):
            await asyncio.to_thread(connection.sender.flush, timeout)

    async def close(self, timeout: float = FLUSH_TIMEOUT_S) -> None:  # noqa: ASYNC109  # as in InputQueue
        """See InputQueue."""
        if self._is_closed:
            return
        deadline_s = time.monotonic() + timeout
        try:
            await self.flush(timeout)
        except BaseException:
            with contextlib.suppress(ConnectorError):  # the same again
                await asyncio.to_thread(self._release, 0.0)
            raise
        await asyncio.to_thread(self._release, max(0.0, deadline_s - time.monotonic()))

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except ConnectorError as failure:
            if error is None:
                raise
            log.error("closing: %s", failure)  # noqa: TRY400  # the block's own error is the one to raise

    async def _connect(self, timeout_s: float | None = None) -> Connection:
        connection = self._own()
        if not connection.is_open(to_send=True):
            limit_s = self._connect_timeout_s if timeout_s is None else min(self._connect_timeout_s, timeout_s)
            await self._opening.open(connection, limit_s, to_send=True)
        return connection


async def outcome_of(connection: Connection, request: Outgoing, deadline_s: float, timeout_s: float) -> Outcome:
    """Send a request and return what becomes of it; TimedOut at ``deadline_s`` of the monotonic clock.

    ``timeout_s`` is how long the caller has waited then. Raises ConnectorError as ``Sender.offer`` does.
    """
    future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
    connection.table.claim(request.id, deliver_to(future))
    try:
        async with asyncio.timeout(max(0.0, deadline_s - time.monotonic())):
            await _send(connection, request)
            return await future
    except TimeoutError:
        raise timed_out(connection, request.id, timeout_s) from None
    finally:
        connection.table.give_up(request.id)


async def _send(connection: Connection, request: Outgoing) -> None:
    deadline_s = time.monotonic() + SEND_TIMEOUT_S
    while not connection.sender.offer(request):
        connection.sender.poll()
        if time.monotonic() > deadline_s:
            connection.sender.raise_full(SEND_TIMEOUT_S)
        await asyncio.sleep(_FULL_SLEEP_S)
