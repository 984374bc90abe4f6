"""One TCP port in front of another, with a network between them that can be cut."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine
from enum import StrEnum
from typing import Any, Self

_CHUNK_BYTES = 65536
# Closed with this, a connection ends by a reset instead of an orderly end.
_RESET = struct.pack("ii", 1, 0)
_CALL_TIMEOUT_S = 10.0


class Cut(StrEnum):
    """How a network fails."""

    # Nothing arrives and nothing is refused. What was sent comes through after the end, as TCP would send it again.
    BLACK_HOLE = "black hole"
    # Every connection is reset, and so is each new one.
    RESET = "reset"


class Proxy:
    """Listens at ``port`` of 127.0.0.1 and passes on to ``target_port``, where nobody need be listening yet.

    One thread for each proxy. ``cut`` and ``heal`` return when they hold, and may be called from any thread.
    """

    def __init__(self, port: int, target_port: int) -> None:
        self.port = port
        self._target_port = target_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"proxy-{port}")
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._is_resetting = False

    def __enter__(self) -> Self:
        self._thread.start()
        self._listener = socket.create_server(("127.0.0.1", self.port), backlog=100)
        self._listener.settimeout(0)
        self._loop.call_soon_threadsafe(self._loop.add_reader, self._listener, self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._call(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def cut(self, how: Cut) -> None:
        """Cut the network, until ``heal``."""
        self._call(self._cut(how))

    def heal(self) -> None:
        """Let everything through again; harmless when nothing is cut."""
        self._call(self._heal())

    def _call(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(_CALL_TIMEOUT_S)

    # The proxy's own thread.

    async def _cut(self, how: Cut) -> None:
        if how is Cut.BLACK_HOLE:
            self._is_open.clear()
            return
        self._is_resetting = True
        for writer in list(self._writers):
            _reset(writer)

    async def _heal(self) -> None:
        self._is_resetting = False
        self._is_open.set()

    async def _close(self) -> None:
        self._loop.remove_reader(self._listener)
        self._listener.close()
        await asyncio.sleep(0)  # a task that was cancelled before its first step would leave its socket open
        for writer in self._writers:
            writer.transport.abort()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self) -> None:
        # asyncio's own server is not used: closed while it accepts, it leaves the connection open.
        with contextlib.suppress(OSError):  # gone before it was accepted
            connection, _ = self._listener.accept()
            task = self._loop.create_task(self._carry(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _carry(self, connection: socket.socket) -> None:
        """Carry one connection, until either end closes it; then close both."""
        reader, writer = await asyncio.open_connection(sock=connection)
        self._writers.add(writer)
        ends = [writer]
        try:
            if self._is_resetting:
                _reset(writer)
                return
            await self._is_open.wait()
            back, upstream = await asyncio.open_connection("127.0.0.1", self._target_port)
            ends.append(upstream)
            self._writers.add(upstream)
            ways = [self._loop.create_task(self._pass_on(*way)) for way in ((reader, upstream), (back, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except OSError:
            pass  # nobody listens there: so the caller's connection ends, too
        finally:
            for end in ends:
                end.close()
            for end in ends:
                with contextlib.suppress(OSError):
                    await end.wait_closed()
                self._writers.discard(end)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK_BYTES):
                await self._is_open.wait()
                writer.write(data)
                await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):  # closed by its other end just now
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    writer.transport.abort()
