"""A thousand streams at once, and loads that take for ever: nothing ticks, and nobody waits for another stream."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from registry_fakes import DEADLINE_S, FakeLoader, Rig

from pipeline.records import State
from pipeline.registry.monitor import StateMonitor

LOAD_THREADS = 4
NAMES = [f"s{number}" for number in range(1000)]


class Blocked(FakeLoader):
    """Loads when it is told to, however long that takes."""

    def __init__(self, gate):
        super().__init__()
        self.is_told = gate

    def load(self):
        self.began.set()
        assert self.is_told.wait(10 * DEADLINE_S)
        return super().load()


@pytest.fixture
def pools():
    with (
        ThreadPoolExecutor(LOAD_THREADS, "load") as load_pool,
        ThreadPoolExecutor(LOAD_THREADS, "unload") as unload_pool,
    ):
        rig = Rig(load_pool, unload_pool)
        yield rig
        rig.manager.close(DEADLINE_S)


@pytest.fixture
def names(request):
    """A thousand; a fifth of them where each lock is made to pause on purpose."""
    return NAMES if request.config.getoption("--schedule-seed") is None else NAMES[::5]


@pytest.mark.parametrize("blocked", [0, 1, LOAD_THREADS - 1])
def test_a_thousand_streams_are_available_in_seconds_while_loads_of_others_do_not_end(pools, blocked, names):
    gate = threading.Event()
    slow = {f"slow{number}": Blocked(gate) for number in range(blocked)}
    for name, loader in slow.items():
        pools.aspire(name, {1: loader})
        assert loader.began.wait(DEADLINE_S)
    began_s = time.monotonic()
    for name in names:
        pools.aspire(name, [1])
    assert pools.manager.wait_settled(names, DEADLINE_S) == {}
    assert time.monotonic() - began_s < DEADLINE_S
    assert len(pools.manager.available()) == len(names)
    assert [pools.states(name, 1) for name in slow] == [["START", "LOADING"]] * blocked
    gate.set()
    pools.settle(*slow)
    assert len(pools.manager.available()) == len(names) + blocked


def test_loads_that_do_not_end_hold_up_no_swap_and_no_unload_of_others(pools):
    gate = threading.Event()
    pools.aspire("m", [1])
    pools.settle("m")
    slow = [Blocked(gate) for _ in range(LOAD_THREADS - 1)]
    for number, loader in enumerate(slow):
        pools.aspire(f"slow{number}", {1: loader})
        assert loader.began.wait(DEADLINE_S)
    for version in range(2, 20):
        pools.aspire("m", [version])
        pools.settle("m")
        assert pools.manager.snapshot("m").available == (version,)
    pools.aspire("m", [])
    pools.settle("m")
    gate.set()


def test_a_load_on_every_thread_delays_no_lookup_and_no_unload(pools):
    """What is loaded already is used, and given up, without a load thread."""
    gate = threading.Event()
    pools.aspire("m", [1])
    pools.settle("m")
    slow = [Blocked(gate) for _ in range(LOAD_THREADS)]
    for number, loader in enumerate(slow):
        pools.aspire(f"slow{number}", {1: loader})
        assert loader.began.wait(DEADLINE_S)
    assert pools.latest("m") == 1
    pools.aspire("m", [])
    pools.settle("m")
    assert pools.states("m", 1)[-1] == "END"
    gate.set()


def test_whoever_follows_the_states_hears_of_a_hundred_streams_together(pools):
    monitor = StateMonitor(pools.bus)
    for name in NAMES[:100]:
        pools.aspire(name, [1])
    assert monitor.wait(NAMES[:100], State.AVAILABLE, DEADLINE_S) == dict.fromkeys(NAMES[:100], True)
