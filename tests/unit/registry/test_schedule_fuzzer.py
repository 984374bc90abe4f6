"""The fuzzer of schedules finds what it is there to find."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from registry_fakes import DEADLINE_S, Rig
from schedule_fuzzer import Schedule, schedule_of

from pipeline.registry import budget, timer
from pipeline.registry.handle import Handle
from pipeline.registry.harness import Harness


def take_in_two_steps(self):
    """Look and count under the lock, but each for itself: the version may be unloaded in between."""
    with self._lock:
        is_refused = self._on_drained is not None
    if is_refused:
        return None
    with self._lock:
        self._handles += 1
    return Handle(self)


def is_a_request_hurt():
    """Swap a version some twenty times under two users; whether one of them saw an unloaded servable."""
    done, hurt = threading.Event(), []

    def use():
        while not done.is_set():
            with rig.manager.acquire("m") as handle:
                try:
                    handle.servable.predict("", {})
                except (AssertionError, RuntimeError) as error:
                    hurt.append(error)

    with ThreadPoolExecutor(1, "load") as load_pool, ThreadPoolExecutor(1, "unload") as unload_pool:
        rig = Rig(load_pool, unload_pool)
        rig.aspire("m", [0])
        rig.settle("m")
        users = [threading.Thread(target=use, name=f"user {number}") for number in range(2)]
        for user in users:
            user.start()
        try:
            for version in range(1, 20):
                rig.aspire("m", [version])
                rig.settle("m")
        finally:
            done.set()
            for user in users:
                user.join(DEADLINE_S)
        rig.manager.close(DEADLINE_S)
    return bool(hurt)


def hurts(seed):
    with schedule_of(seed):
        return is_a_request_hurt()


def test_a_torn_lock_is_found_within_twenty_seeds(monkeypatch):
    monkeypatch.setattr(Harness, "take", take_in_two_steps)
    assert any(hurts(seed) for seed in range(20))


def test_the_lock_as_it_is_stands_the_same_seeds():
    assert not any(hurts(seed) for seed in range(5))


def test_a_seed_gives_each_thread_the_same_pauses(monkeypatch):
    monkeypatch.setattr(threading, "active_count", lambda: 2)

    def pauses(seed):
        slept = []
        monkeypatch.setattr("time.sleep", slept.append)
        schedule = Schedule(seed)
        for _ in range(200):
            schedule.pause()
        monkeypatch.undo()
        monkeypatch.setattr(threading, "active_count", lambda: 2)
        return slept

    assert pauses(1) == pauses(1) != pauses(2)


def test_the_registry_is_itself_again_afterwards():
    before = budget.threading
    with schedule_of(1):
        assert budget.threading is not before
        assert timer.threading.Lock is not threading.Lock
    assert budget.threading is timer.threading is before


@pytest.mark.parametrize("kind", ["Lock", "RLock", "Condition"])
def test_a_fuzzed_lock_excludes(kind):
    with schedule_of(1):
        lock, seen = getattr(budget.threading, kind)(), []

        def use():
            for _ in range(50):
                with lock:
                    seen.append("in")
                    seen.append("out")

        users = [threading.Thread(target=use) for _ in range(3)]
        for user in users:
            user.start()
        for user in users:
            user.join(DEADLINE_S)
    assert seen == ["in", "out"] * 150
