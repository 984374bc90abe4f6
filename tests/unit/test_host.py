"""What a worker's registry makes of the settings."""

from __future__ import annotations

import os
import sys
import threading

import pytest

from pipeline import settings
from pipeline.clock import SystemClock
from pipeline.host import Registry
from pipeline.registry.servable import ServableId
from pipeline.registry.source import Aspired

TIMEOUT_S = 10.0


class Servable:
    def __init__(self):
        self.signatures = {}

    def predict(self, _signature, inputs):
        return inputs


class Loader:
    """Notes the niceness of the thread that it loads on."""

    def __init__(self):
        self.niceness = None

    def estimate_bytes(self):
        return None

    def load(self):
        self.niceness = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        return Servable()

    def unload(self):
        pass


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_loads_have_the_niceness_of_the_settings_once_requests_are_answered():
    stream = {"base_path": "/models/a"}
    set_ = settings.load(overrides={"servables": {"a": stream}, "worker": {"load_niceness": 3}})
    registry = Registry(set_, "w1", SystemClock())
    before, later = Loader(), Loader()
    try:
        registry.manager.set_aspired("a", [Aspired(ServableId("a", 1), before)], {}, 0)
        assert not registry.manager.wait_settled(["a"], TIMEOUT_S)
        registry.let_loads_give_way()
        registry.manager.set_aspired("a", [Aspired(ServableId("a", 2), later)], {}, 1)
        assert not registry.manager.wait_settled(["a"], TIMEOUT_S)
    finally:
        registry.close(TIMEOUT_S)
    normal = os.getpriority(os.PRIO_PROCESS, os.getpid())
    assert (before.niceness, later.niceness) == (normal, normal + 3)


def test_the_end_waits_for_no_unload_that_has_not_begun_in_time():
    goes_on = threading.Event()
    begun = []

    class Slow(Loader):
        def unload(self):
            begun.append(self)
            goes_on.wait(TIMEOUT_S)

    names = ["a", "b", "c"]
    set_ = settings.load(overrides={"servables": {name: {"base_path": f"/models/{name}"} for name in names}})
    registry = Registry(set_, "w1", SystemClock())
    for name in names:
        registry.manager.set_aspired(name, [Aspired(ServableId(name, 1), Slow())], {}, 0)
    assert not registry.manager.wait_settled(names, TIMEOUT_S)
    registry.close(0.1)
    goes_on.set()
    registry._unloads.shutdown(wait=True)  # as the interpreter does
    assert len(begun) == 1
