"""A route whose agent runs on an event loop of a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Self

import numpy as np

from connectors.memory import MemoryBroker, MemoryConnector
from pipeline.agents import Batch, Route
from pipeline.codecs.avro_codec import AvroCodec
from pipeline.codecs.codec import Codec
from pipeline.codecs.confluent import WriterSchemas
from pipeline.metrics import Metrics
from pipeline.records import PredictRequest, PredictResult
from pipeline.registry.servable import Servable, ServableId
from pipeline.serving.circuit import Circuit
from pipeline.serving.dispatcher import Dispatcher, Fetch
from pipeline.settings import RouteSettings
from pipeline.tensors import from_array
from pipeline.testing.fakes import AddingServable, FakeClock, manager_with

CODEC = AvroCodec()
SETTINGS = RouteSettings(
    servable="adder", request_topic="q", result_topic="r", max_batch_size=2, max_batches_in_flight=3
)
REQUEST = CODEC.encode_request(PredictRequest("a", inputs=(from_array("x", np.ones((1, 2), np.float32)),)))


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


class Stage(RunningRoute):
    """A route between a memory broker and an agent that runs on an event loop of its own thread."""

    def __init__(
        self,
        connector: MemoryConnector,
        settings: RouteSettings = SETTINGS,
        servable: Servable | None = None,
        clock: FakeClock | None = None,
        schemas_by_name: WriterSchemas | None = None,
        fetch: Fetch | None = None,
        codecs: Sequence[Codec] = (),
    ) -> None:
        super().__init__()
        clock = clock or FakeClock()
        manager = manager_with({ServableId("adder", 1): servable or AddingServable()}, clock)
        codec = AvroCodec(schemas_by_name=schemas_by_name)
        dispatcher = Dispatcher(settings, manager, [codec, *codecs], clock, fetch=fetch)
        circuit = Circuit(settings.circuit, clock)
        self.route = Route("adder", settings, connector, dispatcher, self.pool, Metrics(), circuit)


def results_of(broker: MemoryBroker) -> list[PredictResult]:
    return [CODEC.decode_result(answer.value) for _, answer in broker.results]
