"""The end of a worker: every route stops taking requests at once, however many there are and however long one takes."""

from __future__ import annotations

import asyncio
import threading

from pipeline import settings
from pipeline.clock import SystemClock
from pipeline.host import Registry, WorkerService

ROUTES = 40  # more than asyncio.to_thread has threads
DEADLINE_S = 20.0


class Route:
    """Takes as long to stop as the others have not been told to."""

    def __init__(self, all_told: threading.Barrier) -> None:
        self.is_told = False
        self._all_stop = all_told

    def begin_to_stop(self) -> None:
        self.is_told = True

    def stop(self, timeout_s: float) -> bool:
        assert self.is_told
        self._all_stop.wait(timeout_s)  # BrokenBarrierError where they stop in turns
        return True


def test_routes_stop_side_by_side() -> None:
    barrier = threading.Barrier(ROUTES)
    routes = {f"r{n}": (Route(barrier), None) for n in range(ROUTES)}
    set_ = settings.load(overrides={"worker": {"drain_timeout_s": DEADLINE_S}})
    registry = Registry(set_, "w1", SystemClock())
    service = WorkerService(None, set_, registry, routes, is_watching=False)  # type: ignore[arg-type]  # as much as is used
    asyncio.run(service.drain())
    assert all(route.is_told for route, _ in routes.values())
