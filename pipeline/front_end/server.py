"""The process of a front end: it listens, keeps a connection to its job's broker, and ends when it is told to."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable
from typing import Final

from aiohttp import web

from pipeline.errors import ConnectorError, InvalidSettings
from pipeline.front_end.job_queue import JobQueue
from pipeline.front_end.pages import Limits, Pages

log = logging.getLogger(__name__)

_RETRY_S: Final = 1.0
_CLOSE_S: Final = 5.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)


def run(queue: JobQueue, limits: Limits, host: str, port: int, on_listening: Callable[[str], None]) -> None:
    """Answer HTTP requests by a queue until SIGINT or SIGTERM; what was taken before is answered then.

    The queue is opened here, and closed. ``on_listening`` is told the URL. A broker that is away is waited for, and
    requests are refused meanwhile. Raises InvalidSettings where it can not listen. Call it on the main thread.
    """
    asyncio.run(_serve(queue, limits, host, port, on_listening))


async def _serve(queue: JobQueue, limits: Limits, host: str, port: int, on_listening: Callable[[str], None]) -> None:
    stopped = asyncio.Event()
    for number in _SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    pages = Pages(queue.job, queue.ask, lambda: queue.is_open, limits)
    # Whoever has gone needs no answer; and whoever is still there is waited for as long as an answer may take.
    runner = web.AppRunner(pages.app(), access_log=None, handler_cancellation=True, shutdown_timeout=limits.timeout_s)
    await runner.setup()
    try:
        await _listen(runner, host, port)
        on_listening(f"http://{host}:{port}")
        async with asyncio.TaskGroup() as tasks:
            opening = tasks.create_task(_open(queue))
            await stopped.wait()
            opening.cancel()
    finally:
        await runner.cleanup()
        await _close(queue)


async def _listen(runner: web.AppRunner, host: str, port: int) -> None:
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        raise InvalidSettings("--port", f"can not listen on {host}:{port}: {error.strerror or error}") from error


async def _open(queue: JobQueue) -> None:
    """Open the connection, however long that takes; it heals by itself afterwards."""
    said = ""
    while True:
        try:
            await queue.open()
        except ConnectorError as error:
            if str(error) != said:
                said = str(error)
                log.warning("requests are refused until there is a connection: %s", said)
            await asyncio.sleep(_RETRY_S)
        else:
            log.info("connected")
            return


async def _close(queue: JobQueue) -> None:
    try:
        await queue.close(_CLOSE_S)
    except ConnectorError as error:
        log.warning("closing: %s", error)
