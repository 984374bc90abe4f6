"""Several aspire at random, several ask, memory is short and loads fail, by the schedules of some seeds."""

from __future__ import annotations

import contextlib
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from registry_fakes import DEADLINE_S, FakeLoader, Rig
from schedule_fuzzer import schedule_of

from pipeline.clock import SystemClock
from pipeline.errors import PenstockError
from pipeline.registry.budget import Budget
from pipeline.registry.servable import ServableId
from pipeline.registry.source import Aspired
from pipeline.registry.timer import ThreadTimer

STREAMS = ("kept", "reloaded")
LIMIT_BYTES = 12


class Sized(FakeLoader):
    """Counts what is loaded by all of its kind, from before the load until after the unload."""

    def __init__(self, total, size, *errors):
        super().__init__(*errors)
        self.total, self.size = total, size
        self.successes = 0

    def estimate_bytes(self):
        return self.size

    def load(self):
        self.total.add(self.size)
        try:
            servable = super().load()
        except BaseException:
            self.total.add(-self.size)
            raise
        self.successes += 1
        return servable

    def unload(self):
        super().unload()
        self.total.add(-self.size)


class Total:
    def __init__(self):
        self._lock = threading.Lock()
        self.bytes = self.most_bytes = 0

    def add(self, size):
        with self._lock:
            self.bytes += size
            self.most_bytes = max(self.most_bytes, self.bytes)


class Crowd:
    def __init__(self, rig, seed):
        self.rig, self.seed = rig, seed
        self.total, self.loaders = Total(), []
        self.hurt = []
        self.is_done = threading.Event()

    def loader(self, chance):
        errors = chance.choice([(), (), (), (), (ValueError("bad"),), (OSError("busy"),)])
        self.loaders.append(Sized(self.total, chance.randint(1, 5), *errors))
        return self.loaders[-1]

    def aspire(self, number):
        """At random, forgetting included; the same revision is never reached twice, so loads are many."""
        chance = random.Random(f"{self.seed} {number}")
        for _ in range(40):
            stream = chance.choice(STREAMS)
            if chance.random() < 0.1:
                self.rig.manager.forget(stream, 1)
                continue
            items = [
                Aspired(
                    ServableId(stream, version),
                    self.loader(chance),
                    digest=chance.choice("ab"),
                    revision=chance.randint(0, 3),
                )
                for version in chance.sample(range(4), chance.randint(0, 3))
            ]
            self.rig.manager.set_aspired(stream, items, {"stable": chance.randint(0, 3)}, 1)

    @contextlib.contextmanager
    def asking(self, pool):
        users = [pool.submit(self.ask) for _ in range(2)]
        try:
            yield
        finally:
            self.is_done.set()
        for user in users:
            user.result(DEADLINE_S)

    def ask(self):
        while not self.is_done.is_set():
            for stream in STREAMS:
                with contextlib.suppress(PenstockError), self.rig.manager.acquire(stream) as handle:
                    try:
                        handle.servable.predict("", {})
                    except (AssertionError, RuntimeError) as error:
                        self.hurt.append(error)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_a_crowd_aspires_nothing_is_left_and_nobody_is_hurt(seed):
    with (
        schedule_of(seed),
        ThreadPoolExecutor(3, "load") as load_pool,
        ThreadPoolExecutor(2, "unload") as unload_pool,
        ThreadPoolExecutor(5, "crowd") as crowd_pool,
    ):
        budget, timer = Budget(LIMIT_BYTES), ThreadTimer(SystemClock())
        settings = {"budget": budget, "timer": timer, "retry_interval_s": 0.001, "retry_failed_after_s": 0.01}
        rig = Rig(load_pool, unload_pool, reloading=["reloaded"], **settings)
        crowd = Crowd(rig, seed)
        with crowd.asking(crowd_pool):
            for aspiring in [crowd_pool.submit(crowd.aspire, number) for number in range(3)]:
                aspiring.result(DEADLINE_S)
            if seed % 2:
                # The last word counts, whatever was on its way; on the other seeds it is cut short by the end.
                for stream in STREAMS:
                    rig.manager.forget(stream, 1)
                    rig.aspire(stream, {7: Sized(crowd.total, 1)})
                rig.settle(*STREAMS)
                assert rig.manager.available() == (("kept", 7), ("reloaded", 7))
                assert crowd.total.bytes == 2
        assert rig.manager.close(DEADLINE_S) == ()
    assert crowd.hurt == []
    assert (crowd.total.bytes, budget.reserved_bytes) == (0, 0)
    assert crowd.total.most_bytes <= LIMIT_BYTES
    assert all(loader.unloads == loader.successes <= 1 for loader in crowd.loaders)
    for stream in STREAMS:
        for version in range(4):
            assert rig.states(stream, version)[-1:] in ([], ["END"])
