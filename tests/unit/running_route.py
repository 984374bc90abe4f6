"""A route whose agent runs on an event loop of a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from typing import Self

from pipeline.agents import Batch, Route


class RunningRoute:
    """What a route needs around it; whoever derives from it makes ``route``, with ``pool``, before it is entered."""

    route: Route

    def __init__(self) -> None:
        self.crashes: list[BaseException] = []
        self.crashed = threading.Event()
        self.pool = ThreadPoolExecutor(1)
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._started.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()
        self.pool.shutdown()

    def crash(self, error: BaseException) -> None:
        self.crashes.append(error)
        self.crashed.set()

    async def _main(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        queue: asyncio.Queue[Batch] = asyncio.Queue()

        async def stream() -> AsyncIterator[Batch]:
            while True:
                yield await queue.get()

        self.route.start(queue.put, self._loop, self.crash)
        agent = asyncio.create_task(self.route.answer(stream()))
        self._started.set()
        await self._over.wait()
        agent.cancel()
