"""The asyncio side of the reply table: its callbacks come from the connection's thread."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable

from pipeline.client.connection import Connection
from pipeline.client.reply_table import Outcome, ReplyTable
from pipeline.errors import ConnectorError


def deliver_to(future: asyncio.Future[Outcome]) -> Callable[[Outcome], None]:
    """Return a callback for any thread that completes a future on its own loop; does nothing once that is closed."""
    loop = future.get_loop()

    def complete(outcome: Outcome) -> None:
        if not future.done():
            future.set_result(outcome)

    def deliver(outcome: Outcome) -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits
            loop.call_soon_threadsafe(complete, outcome)

    return deliver


async def wait(table: ReplyTable, id_: str | None, timeout_s: float) -> bool:
    """The twin of ReplyTable.wait; may be cancelled."""
    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    def wake() -> None:
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits
            loop.call_soon_threadsafe(event.set)

    if not table.watch(id_, wake):
        return True
    try:
        async with asyncio.timeout(timeout_s):
            await event.wait()
    except TimeoutError:
        return False
    finally:
        table.unwatch(id_, wake)
    return True


class Opening:
    """Opens a connection off the loop, by one thread however many tasks want it."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()

    async def open(self, connection: Connection, timeout_s: float, *, to_send: bool) -> None:
        """The twin of Connection.open; ``timeout_s`` includes the wait for other tasks that open it."""
        deadline_s = time.monotonic() + timeout_s
        try:
            async with asyncio.timeout(timeout_s):
                await self._turn.acquire()
        except TimeoutError:
            what = connection.address.place
            raise ConnectorError(what, f"no connection within {timeout_s:g} s{connection.trouble}") from None
        try:
            if not connection.is_open(to_send=to_send):
                left_s = max(0.0, deadline_s - time.monotonic())
                await asyncio.to_thread(connection.open, left_s, to_send=to_send)
        finally:
            self._turn.release()
