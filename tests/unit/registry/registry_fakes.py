"""What the registry's tests share: loaders that do as they are told, executors that run when they are told."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future
from typing import Any

from pipeline.errors import PenstockError
from pipeline.registry.loader import Loader
from pipeline.registry.manager import Manager
from pipeline.registry.policy import Policy, availability_preserving
from pipeline.registry.rules import OnChange, Rules
from pipeline.registry.servable import ServableId, Signature
from pipeline.registry.source import Aspired
from pipeline.registry.states import EventBus, VersionState
from pipeline.tensors import Array
from pipeline.testing.fakes import FakeClock

DEADLINE_S = 10.0


class FakeServable:
    signatures: Mapping[str, Signature] = {}

    def __init__(self, tag: Any = None) -> None:
        self.tag = tag
        self.is_loaded = True

    def predict(self, _signature: str, inputs: Mapping[str, Array]) -> Mapping[str, Array]:
        assert self.is_loaded
        return inputs


class FakeLoader:
    """Raises ``errors`` one by one, then loads; waits for ``gate`` where it has one."""

    def __init__(self, *errors: BaseException, gate: threading.Event | None = None, tag: Any = None) -> None:
        self.errors = deque(errors)
        self.gate = gate
        self.tag = tag
        self.began = threading.Event()
        self.loads = self.unloads = 0
        self.servable: FakeServable | None = None
        self.threads: list[str] = []

    def estimate_bytes(self) -> int | None:
        return None

    def load(self) -> FakeServable:
        self.loads += 1
        self.threads.append(threading.current_thread().name)
        self.began.set()
        if self.gate is not None:
            assert self.gate.wait(DEADLINE_S)
        if self.errors:
            raise self.errors.popleft()
        self.servable = FakeServable(self.tag)
        return self.servable

    def unload(self) -> None:
        self.unloads += 1
        self.threads.append(threading.current_thread().name)
        if self.servable is not None:
            self.servable.is_loaded = False
        self.servable = None


class ManualExecutor(Executor):
    """Runs the oldest job when ``step`` is called, on the caller's thread."""

    def __init__(self) -> None:
        self.jobs: deque[tuple[Future[Any], Callable[[], Any]]] = deque()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        self.jobs.append((future, lambda: fn(*args, **kwargs)))
        return future

    def step(self) -> None:
        future, job = self.jobs.popleft()
        if future.set_running_or_notify_cancel():
            future.set_result(job())

    def drain(self) -> None:
        while self.jobs:
            self.step()


class ManualTimer:
    def __init__(self) -> None:
        self.due: list[tuple[float, Callable[[], None]]] = []
        self.is_stopped = False

    def call_later(self, delay_s: float, call: Callable[[], None]) -> Callable[[], None]:
        entry = (delay_s, call)
        self.due.append(entry)
        return lambda: self.due.remove(entry) if entry in self.due else None

    def stop(self) -> None:
        self.is_stopped = True
        self.due.clear()

    def fire(self) -> float:
        delay_s, call = self.due.pop(0)
        call()
        return delay_s


class Rig:
    """A manager with everything around it, and short ways to say things to it."""

    def __init__(
        self,
        load_pool: Executor,
        unload_pool: Executor,
        policy: Policy = availability_preserving,
        **settings: Any,
    ) -> None:
        self.load_pool, self.unload_pool = load_pool, unload_pool
        self.bus = EventBus()
        self.clock = FakeClock()
        self.timer = ManualTimer()
        self.events: list[VersionState] = []
        self.bus.subscribe(self.events.append)
        policies = settings.pop("policies", {})
        reloading = settings.pop("reloading", ())
        settings = {"timer": self.timer, "rules": lambda name: rules_of(name, policies, policy, reloading), **settings}
        self.manager = Manager(policy, load_pool, unload_pool, self.bus, self.clock, **settings)
        self.generation = 0

    def aspire(
        self,
        stream: str,
        versions: Mapping[int, Loader | PenstockError] | Sequence[int] = (),
        *,
        labels: Mapping[str, int] | None = None,
        digest: str | None = None,
    ) -> None:
        if not isinstance(versions, Mapping):
            versions = {version: FakeLoader(tag=version) for version in versions}
        self.generation += 1
        items = [self._item(stream, version, data, digest) for version, data in versions.items()]
        self.manager.set_aspired(stream, items, labels or {}, self.generation)

    def _item(self, stream: str, version: int, data: Any, digest: str | None) -> Aspired[Loader]:
        error = data if isinstance(data, PenstockError) else None
        path = f"/models/{stream}/{version}"
        data = None if error else data
        return Aspired(ServableId(stream, version), data, error, self.generation, "fake", path, digest)

    def settle(self, *streams: str) -> None:
        assert self.manager.wait_settled(streams, DEADLINE_S) == {}

    def run_until_quiet(self) -> None:
        while self.load_pool.jobs or self.unload_pool.jobs:
            self.unload_pool.drain()
            self.load_pool.drain()

    def states(self, stream: str, version: int) -> list[str]:
        return [str(event.state) for event in self.events if event.id == (stream, version)]

    def last(self, stream: str, version: int) -> VersionState:
        return [event for event in self.events if event.id == (stream, version)][-1]

    def latest(self, stream: str) -> int:
        with self.manager.acquire(stream) as handle:
            return handle.id.version


def rules_of(name: str, policies: Mapping[str, Policy], policy: Policy, reloading: Sequence[str]) -> Rules:
    return Rules(policies.get(name, policy), OnChange.RELOAD if name in reloading else OnChange.REPORT)


LIFE = ["START", "LOADING", "AVAILABLE", "UNLOADING", "END"]
