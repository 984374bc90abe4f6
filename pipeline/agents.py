"""One Faust agent for each route: batch -> dispatcher -> connector.answer.

A feeder thread polls the connector and decodes; each batch is one event on the route's channel; the agent has it
computed on a worker thread, together with those that wait behind it where many streams share them, and goes on to the
next, while the broker accepts the answers. A batch that comes to an idle route with a quick model is computed by the
feeder itself, which saves it two hand-overs.

At most ``max_batches_in_flight`` batches and ``max_in_flight_bytes`` stand between poll and delivery, and more batches
where they are computed together: a full route is paused, not buffered.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Any, Final

import faust
import msgspec
from faust.types import AppT

from pipeline.clock import SystemClock
from pipeline.connector import Answer, Connector, Record
from pipeline.metrics import Metrics
from pipeline.serving import in_flight
from pipeline.serving.circuit import Circuit, Standing, State
from pipeline.serving.dispatcher import Dispatcher
from pipeline.serving.in_flight import InFlight
from pipeline.serving.joining import Joining
from pipeline.serving.pending import Pending
from pipeline.settings import RouteSettings
from pipeline.settings.cluster_serving import FORMAT as CLUSTER_SERVING

log = logging.getLogger(__name__)


_POLL_S: Final = 0.2
# A route that stays full for this long is paused at its broker; for less, waiting is cheaper than fetching again.
_FULL_S: Final = 1.0
# A route whose last batch took no longer computes on its feeder what comes alone: to others a hand-over is nothing.
_QUICK_S: Final = 0.02


class Batch(msgspec.Struct):
    """The requests of one poll, the bytes of their records, and all that they hold."""

    requests: list[Pending]
    record_bytes: int
    held_bytes: int


Put = Callable[[Batch], Coroutine[Any, Any, None]]
Crash = Callable[[BaseException], None]


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
        circuit: Circuit | None = None,
        is_prepared: Callable[[], bool] | None = None,
    ) -> None:
        self.name = name
        self.settings = settings
        self._connector = connector
        self._dispatcher = dispatcher
        self._compute_pool = compute_pool
        self._metrics = metrics
        self._is_prepared = is_prepared
        self._circuit = circuit or Circuit(settings.circuit, SystemClock())
        self._in_flight = InFlight(settings.max_batches_in_flight, settings.max_in_flight_bytes)
        # A sparse tensor is as large as it likes, however small its record: of a format that has them all is counted.
        self._uncounted_bytes = 0 if settings.format == CLUSTER_SERVING else self._in_flight.share_bytes
        self._waiting: deque[Batch] = deque()  # to be computed, in order
        self._joining = Joining(settings)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._polling = threading.Lock()  # held by whoever uses the connector's ``poll``
        self._computing_since_s = math.inf  # when the feeder has begun to compute
        self._took_s = math.inf  # how long the last batch was computed
        self._crash: Crash = _raise

    def start(self, put: Put, loop: asyncio.AbstractEventLoop, crash: Crash) -> None:
        """Open the connector and start feeding the channel that ``put`` writes to; raises ConnectorError."""
        self._crash = crash
        self._connector.open()
        self._thread = threading.Thread(
            target=self._feed, args=(put, loop), name=f"penstock-{self.name}-feeder", daemon=True
        )
        self._thread.start()
        self._standing_in = asyncio.run_coroutine_threadsafe(self._stand_in(), loop)

    def is_prepared(self) -> bool:
        """Return whether it may be started, as far as its schemas are concerned. Never blocks."""
        return self._is_prepared is None or self._is_prepared()

    @property
    def is_started(self) -> bool:
        """Whether it has been started and not stopped."""
        return self._thread is not None and not self._stopping.is_set()

    @property
    def takes_requests(self) -> bool:
        """Whether requests are being taken, or would be if there were room."""
        is_stopped = self.settings.circuit.action == "stop" and self.standing.state is not State.CLOSED
        return self.is_started and not is_stopped

    @property
    def standing(self) -> Standing:
        """Where its circuit stands."""
        return self._circuit.standing

    def close_circuit(self) -> None:
        """Take and compute requests again: there is a new version. Never blocks."""
        self._circuit.close()

    async def answer(self, stream: AsyncIterator[Batch]) -> None:
        """Answer batches as they come, in order.

        The agent's body. Nothing escapes it: what goes wrong stops the worker.
        """
        loop = asyncio.get_running_loop()
        async for _ in stream:
            if not self._waiting:  # it was computed with one before it
                continue
            try:
                await loop.run_in_executor(self._compute_pool, self._compute_waiting)
            except Exception as error:  # noqa: BLE001  # Faust would swallow it, and the batch with it
                self._crash(error)
                return

    def begin_to_stop(self) -> None:
        """Take no more requests; does not wait."""
        self._stopping.set()

    def stop(self, timeout_s: float) -> bool:
        """Take no more requests, let what is in flight be delivered and acknowledged, leave; return whether all was.

        Blocks; the event loop must go on meanwhile.
        """
        self._stopping.set()
        if self._thread is None:
            return True
        deadline_s = time.monotonic() + timeout_s
        self._standing_in.cancel()
        self._thread.join(timeout_s)
        is_empty = self._in_flight.wait_until_empty(max(0.0, deadline_s - time.monotonic()))
        left_s = max(1.0, deadline_s - time.monotonic())
        has_turn = self._polling.acquire(timeout=left_s)  # a stand-in may be in the middle of a rebalance
        try:
            self._connector.close(left_s)
        finally:
            if has_turn:
                self._polling.release()
        return is_empty

    # The feeder's thread. It always comes back to ``poll``, or is stood in for: that keeps the membership.

    def _feed(self, put: Put, loop: asyncio.AbstractEventLoop) -> None:
        try:
            while not self._stopping.is_set():
                with self._polling:
                    records = self._take()
                    batch = self._admitted(records) if records else None
                if batch is None:
                    continue
                if self._is_worth_no_hand_over(len(records)):
                    self._computing_since_s = time.monotonic()
                    self._compute([batch])
                    self._computing_since_s = math.inf
                else:
                    self._waiting.append(batch)
                    asyncio.run_coroutine_threadsafe(put(batch), loop)
        except Exception as error:  # noqa: BLE001  # a thread's exception would be lost, and the worker half alive
            self._crash(error)

    def _is_worth_no_hand_over(self, size: int) -> bool:
        """Whether there is nothing to overtake, nothing more that could be polled meanwhile, and it will be quick."""
        is_full = size >= self.settings.max_batch_size
        return self._in_flight.is_single and not is_full and self._took_s <= _QUICK_S

    async def _stand_in(self) -> None:
        """Once a second, poll for a feeder that computes: any model may take as long as it likes."""
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            await asyncio.sleep(_FULL_S)
            if self._is_computing_long:
                # Its own thread of the pool is free: this route computes on the feeder's.
                await loop.run_in_executor(self._compute_pool, self._poll_for_feeder)

    def _poll_for_feeder(self) -> None:
        try:
            with self._polling:
                if self._is_computing_long and not self._stopping.is_set():
                    self._connector.poll(0, 0.0)
        except Exception as error:  # noqa: BLE001  # as the feeder's
            self._crash(error)

    @property
    def _is_computing_long(self) -> bool:
        return time.monotonic() - self._computing_since_s >= _FULL_S

    def _take(self) -> Sequence[Record]:
        """Return what the next batch is made of, empty where there is nothing, or no room, or the circuit is open."""
        if not self._in_flight.enter(_FULL_S):
            return self._connector.poll(0, 0.0)
        wanted = self.settings.max_batch_size
        if self.settings.circuit.action == "stop":
            wanted = self._circuit.admit(wanted)
        records = self._connector.poll(wanted, _POLL_S, self._in_flight.share_bytes)
        if not records:
            self._in_flight.leave()
            if wanted:
                self._circuit.give_up()
        return records

    def _admitted(self, records: Sequence[Record]) -> Batch:
        """Return the decoded batch when what it holds has room."""
        requests = self._dispatcher.decode(records)
        record_bytes = in_flight.of_records(records)
        held_bytes = record_bytes + in_flight.of_decoded(requests, record_bytes, self._uncounted_bytes)
        while not self._in_flight.admit(held_bytes, _FULL_S) and not self._stopping.is_set():
            self._connector.poll(0, 0.0)
        self._metrics.taken(self.name, len(records))
        self._metrics.holds(self.name, self._in_flight.held_bytes)
        return Batch(requests, record_bytes, held_bytes)

    # A worker's thread, or the feeder's where nothing else is in flight.

    def _compute_waiting(self) -> None:
        """Answer the batch that has waited longest, together with those behind it that are there."""
        waiting = self._waiting
        self._compute([waiting.popleft() for _ in range(min(self._joining.together, len(waiting)))])

    def _compute(self, batches: Sequence[Batch]) -> None:
        """Answer batches together, on one thread at a time."""
        started_s = time.perf_counter()
        requests = batches[0].requests if len(batches) == 1 else [*itertools.chain(*[it.requests for it in batches])]
        answers, streams = self._answers(requests)
        self._took_s = time.perf_counter() - started_s
        self._joining.note(len(requests), streams, self._took_s)
        self._in_flight.widen(self._joining.more_in_flight)
        start = 0
        for batch in batches:
            end = start + len(batch.requests)
            self._metrics.computed(self.name, batch.requests, self._took_s)
            self._send(batch, answers[start:end])
            start = end

    def _send(self, batch: Batch, answers: Sequence[Answer]) -> None:
        records = [pending.record for pending in batch.requests]
        # What was decoded is done with, and Faust holds on to the batch for a while.
        batch.requests = []
        held_bytes = batch.record_bytes + in_flight.of_answers(answers)
        self._in_flight.change(batch.held_bytes, held_bytes)
        delivery = self._connector.answer(records, answers, self._dispatcher.refuse)
        delivery.add_done_callback(lambda done: self._delivered(done, held_bytes))

    def _answers(self, requests: Sequence[Pending]) -> tuple[Sequence[Answer], int]:
        """Return the answers, and how many streams were asked."""
        self._dispatcher.decode_late(requests)
        circuit = self._circuit
        if circuit.settings.action == "dead_letter":
            admitted = circuit.admit(len(requests))
            for pending in requests[admitted:]:
                if pending.error is None:
                    pending.fail(circuit.refusal(self.settings.servable))
        targets = self._dispatcher.targets_of(requests)
        answers = self._dispatcher.compute(requests, targets)
        if circuit.settings.after_batches:
            circuit.note(len(requests), [pending.error for pending in requests if pending.error is not None])
        return answers, len(targets)

    def _delivered(self, done: Future[None], held_bytes: int) -> None:
        error = done.exception()
        if error is not None:
            self._crash(error)
            return
        self._in_flight.leave(held_bytes)
        self._metrics.delivered(self.name)
        self._metrics.holds(self.name, self._in_flight.held_bytes)


def _raise(error: BaseException) -> None:
    raise error
