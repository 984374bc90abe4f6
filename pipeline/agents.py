"""One Faust agent for each route: batch -> dispatcher -> connector.answer.

A feeder thread polls the connector and decodes; each batch is one event on the route's channel; the agent has it
computed on a worker thread and goes on to the next, while the broker accepts the answers. At most
``max_batches_in_flight`` batches stand between poll and delivery: that bounds memory, and a full route is paused, not
buffered.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from concurrent.futures import Executor, Future
from typing import Any, Final

import faust
from faust.types import AppT

from pipeline.connector import Connector
from pipeline.metrics import Metrics
from pipeline.serving.dispatcher import Dispatcher, Pending
from pipeline.settings import RouteSettings

log = logging.getLogger(__name__)

Batch = list[Pending]
Put = Callable[[Batch], Coroutine[Any, Any, None]]
Crash = Callable[[BaseException], None]

_POLL_S: Final = 0.2
# A route that stays full for this long is paused at its broker; for less, waiting is cheaper than fetching again.
_FULL_S: Final = 1.0


class RequestChannel(faust.Channel[Batch]):
    """A Faust channel that knows the topic whose records reach it, so that an agent on it reads as its consumer."""

    def __init__(self, app: AppT, *, topic_name: str = "", **options: Any) -> None:
        self.topic_name = topic_name
        super().__init__(app, **options)

    def _clone_args(self) -> Mapping[str, Any]:
        return {**super()._clone_args(), "topic_name": self.topic_name}

    def get_topic_name(self) -> str:
        """Return the request topic; ``faust agents`` prints it."""
        return self.topic_name

    async def feed(self, batch: Batch) -> None:
        """Put one batch on the channel."""
        await self.put(batch)  # type: ignore[arg-type]  # typed for events, and passes plain values on as they are


class Route:
    """One route at run time: its feeder thread, and the agent's body. ``start`` it when its servable is ready."""

    def __init__(
        self,
        name: str,
        settings: RouteSettings,
        connector: Connector,
        dispatcher: Dispatcher,
        compute_pool: Executor,
        metrics: Metrics,
    ) -> None:
        self.name = name
        self.settings = settings
        self._connector = connector
        self._dispatcher = dispatcher
        self._compute_pool = compute_pool
        self._metrics = metrics
        self._slots = threading.Semaphore(settings.max_batches_in_flight)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._crash: Crash = _raise

    def start(self, put: Put, loop: asyncio.AbstractEventLoop, crash: Crash) -> None:
        """Open the connector and start feeding the channel that ``put`` writes to; raises ConnectorError."""
        self._crash = crash
        self._connector.open()
        self._thread = threading.Thread(
            target=self._feed, args=(put, loop), name=f"penstock-{self.name}-feeder", daemon=True
        )
        self._thread.start()

    @property
    def is_started(self) -> bool:
        """Whether requests are being taken."""
        return self._thread is not None and not self._stopping.is_set()

    async def answer(self, stream: AsyncIterator[Batch]) -> None:
        """Answer batches as they come, in order.

        The agent's body. Nothing escapes it: what goes wrong stops the worker.
        """
        loop = asyncio.get_running_loop()
        async for batch in stream:
            try:
                delivery = await loop.run_in_executor(self._compute_pool, self._compute, batch)
            except Exception as error:  # noqa: BLE001  # Faust would swallow it, and the batch with it
                self._crash(error)
                return
            delivery.add_done_callback(self._delivered)

    def stop(self, timeout_s: float) -> bool:
        """Stop polling, let what is in flight be delivered and acknowledged, leave; return whether all of it was.

        Blocks; the event loop must go on meanwhile.
        """
        self._stopping.set()
        if self._thread is None:
            return True
        deadline_s = time.monotonic() + timeout_s
        self._thread.join(timeout_s)
        slots = self.settings.max_batches_in_flight
        is_empty = all(self._slots.acquire(timeout=max(0.0, deadline_s - time.monotonic())) for _ in range(slots))
        self._connector.close(max(1.0, deadline_s - time.monotonic()))
        return is_empty

    def _feed(self, put: Put, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while not self._stopping.is_set():
                if not self._slots.acquire(timeout=_FULL_S):
                    self._connector.poll(0, 0.0)
                    continue
                records = self._connector.poll(self.settings.max_batch_size, _POLL_S)
                if not records:
                    self._slots.release()
                    continue
                self._metrics.taken(self.name, len(records))
                batch = self._dispatcher.decode(records)
                asyncio.run_coroutine_threadsafe(put(batch), loop)
        except Exception as error:  # noqa: BLE001  # a thread's exception would be lost, and the worker half alive
            self._crash(error)

    def _compute(self, batch: Batch) -> Future[None]:
        started_s = time.perf_counter()
        answers = self._dispatcher.answer(batch)
        self._metrics.computed(self.name, batch, time.perf_counter() - started_s)
        return self._connector.answer([pending.record for pending in batch], answers, self._dispatcher.refuse)

    def _delivered(self, done: Future[None]) -> None:
        error = done.exception()
        if error is not None:
            self._crash(error)
            return
        self._metrics.delivered(self.name)
        self._slots.release()


def _raise(error: BaseException) -> None:
    raise error
