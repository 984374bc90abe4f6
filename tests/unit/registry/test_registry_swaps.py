"""Hundreds of swaps under requests from threads and from tasks: none fails, and nothing stays behind.

Memory is what Python and numpy have allocated (tracemalloc), so that one array that stays behind shows; what the
allocator keeps of the process's pages would hide it.
"""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import tracemalloc
import weakref
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from registry_fakes import DEADLINE_S, Rig

from pipeline.errors import InvalidArtefact
from pipeline.registry.servable import ServableId, Signature
from pipeline.registry.source import Aspired

SWAPS = 500
FUZZED_SWAPS = 100  # where a schedule makes each of them slow
WEIGHTS = 1 << 19  # float64: 4 MiB


class Weights:
    """A servable that can tell whether it has been unloaded."""

    signatures: Mapping[str, Signature] = {}

    def __init__(self, version):
        self.array = np.full(WEIGHTS, float(version))

    def predict(self, _signature, _inputs):
        return {"version": self.array[:1]}


class WeightsLoader:
    def __init__(self, version, error=None):
        self.version, self.error, self.servable = version, error, None

    def estimate_bytes(self):
        return WEIGHTS * 8

    def load(self):
        if self.error is not None:
            raise self.error
        self.servable = Weights(self.version)
        alive.add(self.servable)
        return self.servable

    def unload(self):
        self.servable.array = None
        self.servable = None


alive = weakref.WeakSet()


class Requests:
    """Answers requests in three threads and in three tasks of an event loop, until it is told to stop."""

    def __init__(self, manager):
        self._manager = manager
        self._is_done = threading.Event()
        self.failures = []
        self.answered = 0

    @contextmanager
    def running(self):
        threads = [threading.Thread(target=self._ask, name=f"requests {number}") for number in range(3)]
        threads.append(threading.Thread(target=lambda: asyncio.run(self._ask_in_tasks()), name="requests loop"))
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._is_done.set()
            for thread in threads:
                thread.join(DEADLINE_S)

    def _ask(self):
        while not self._is_done.is_set():
            try:
                with self._manager.acquire("m") as handle:
                    self._answer(handle)
                    time.sleep(0)
                    self._answer(handle)
            except Exception as error:  # noqa: BLE001  # any failure at all is what the test looks for
                self.failures.append(repr(error))

    async def _ask_in_tasks(self):
        await asyncio.gather(*(self._ask_in_task() for _ in range(3)))

    async def _ask_in_task(self):
        """A handle is held across waits, and the loop never waits for the manager."""
        while not self._is_done.is_set():
            try:
                with self._manager.acquire("m") as handle:
                    self._answer(handle)
                    await asyncio.sleep(0.001)
                    self._answer(handle)
            except Exception as error:  # noqa: BLE001  # as above
                self.failures.append(repr(error))

    def _answer(self, handle):
        assert handle.servable.predict("", {})["version"] == [handle.id.version]
        self.answered += 1


def plain(number):
    return number, 0, None


def mixed(number):
    """Two new versions, then one that is loaded anew, then two that do not load."""
    round_, place = divmod(number, 5)
    version = round_ * 5 + min(place, 1)
    if place < 3:
        return version, int(place == 2), None
    return number, 0, InvalidArtefact(f"m/{number}", "no weights")


@pytest.fixture
def traced():
    tracemalloc.start()
    yield
    tracemalloc.stop()


def allocated_bytes():
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.usefixtures("switch_often", "traced")
@pytest.mark.parametrize("plan", [plain, mixed])
def test_five_hundred_swaps_lose_no_request_and_leave_nothing_behind(plan, caplog, request):
    swaps = SWAPS if request.config.getoption("--schedule-seed") is None else FUZZED_SWAPS
    caplog.set_level("CRITICAL")  # a record of a failure keeps its traceback
    gc.collect()  # what other tests left open is not to be closed in the middle of this one
    threads, files, loaders = set(threading.enumerate()), open_files(), weakref.WeakSet()
    allocated = []
    with ThreadPoolExecutor(2, "load") as load_pool, ThreadPoolExecutor(2, "unload") as unload_pool:
        rig = Rig(load_pool, unload_pool)
        requests = Requests(rig.manager)
        swap(rig, loaders, 0, 0, None)
        with requests.running():
            for number in range(1, swaps + 1):
                swap(rig, loaders, *plan(number))
                if number in (10, swaps):
                    allocated.append(allocated_bytes())
        answered_last = [version for _, version in rig.manager.available()]
        assert requests.failures == []
        assert requests.answered > swaps
        assert answered_last == [swaps]
        assert len(alive) == len(loaders) == 1
        assert rig.manager.close(DEADLINE_S) == ()
    gc.collect()
    assert (set(alive), set(loaders)) == (set(), set())
    assert allocated[1] <= allocated[0] * 1.05
    assert set(threading.enumerate()) <= threads
    assert open_files() <= files


def swap(rig, loaders, version, revision, error):
    loader = WeightsLoader(version, error)
    loaders.add(loader)
    rig.events.clear()
    item = Aspired(ServableId("m", version), loader, digest=str(version), revision=revision)
    rig.manager.set_aspired("m", [item], {}, version)
    rig.settle("m")


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))
