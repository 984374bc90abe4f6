"""Streams that are loaded when somebody asks for them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from registry_fakes import DEADLINE_S, FakeLoader

from pipeline.clock import SystemClock
from pipeline.errors import NotReady, UnknownServable, UnknownVersion
from pipeline.records import State
from pipeline.registry.caching_manager import CachingManager
from pipeline.registry.monitor import StateMonitor
from pipeline.registry.servable import ServableId
from pipeline.registry.source import Aspired


class Factory:
    """Has streams a to d with versions 1 and 2; counts what it is asked for."""

    def __init__(self):
        self.asked, self.loaders = [], {}
        self.errors = {}
        self.gates = {}
        self.is_asked = threading.Event()

    def __call__(self, name):
        self.asked.append(name)
        self.is_asked.set()
        if name not in "abcd":
            raise UnknownServable(name, tuple("abcd"))
        items = []
        for version in (1, 2):
            gate = self.gates.get(name) if version == 2 else None
            loader = FakeLoader(*self.errors.get(name, ()), gate=gate, tag=version)
            self.loaders[name, version] = loader
            items.append(Aspired(ServableId(name, version), loader))
        return items


@pytest.fixture
def factory():
    return Factory()


def caching(rig, factory, clock=None, **more):
    return CachingManager(rig.manager, factory, clock or rig.clock, **more)


def ask(manager, name, **more):
    with manager.acquire(name, **more) as handle:
        return handle.id.version


def test_a_stream_is_loaded_by_the_first_request_and_stays(rig, factory):
    manager = caching(rig, factory)
    assert [ask(manager, "a"), ask(manager, "a", version=1), ask(manager, "b")] == [2, 1, 2]
    assert factory.asked == ["a", "b"]
    assert manager.streams() == ("a", "b")


def test_what_the_factory_does_not_have_is_unknown_and_asked_for_again(rig, factory):
    manager = caching(rig, factory)
    for _ in range(2):
        with pytest.raises(UnknownServable):
            manager.acquire("x")
    assert factory.asked == ["x", "x"]


def test_a_version_that_the_stream_does_not_have_is_unknown(rig, factory):
    with pytest.raises(UnknownVersion):
        caching(rig, factory).acquire("a", version=3)


def test_the_least_recently_used_stream_goes_when_there_are_too_many(rig, factory):
    manager, monitor = caching(rig, factory, max_streams=2), StateMonitor(rig.bus)
    for name in "abac":
        ask(manager, name)
    assert manager.streams() == ("a", "c")
    assert monitor.wait([ServableId("b", 1)], State.END, DEADLINE_S)
    assert factory.loaders["b", 1].unloads == 1
    assert rig.manager.streams() == ("a", "c")
    ask(manager, "b")
    assert factory.asked == ["a", "b", "c", "b"]


def test_a_held_stream_that_goes_is_unloaded_when_it_is_released(rig, factory):
    manager = caching(rig, factory, max_streams=1)
    handle = manager.acquire("a")
    ask(manager, "b")
    assert handle.servable.is_loaded
    handle.release()
    assert rig.manager.close(DEADLINE_S) == ()
    assert factory.loaders["a", 2].unloads == 1


def test_a_stream_that_failed_is_tried_again_after_a_while_and_not_before(rig, factory):
    manager = caching(rig, factory, failed_for_s=60)
    factory.errors["a"] = [ValueError("bad")]
    for _ in range(2):
        with pytest.raises(NotReady, match="bad"):
            manager.acquire("a")
    assert factory.asked == ["a"]
    factory.errors.clear()
    rig.clock.advance(60)
    assert ask(manager, "a") == 2


def test_a_load_that_takes_too_long_is_not_ready_and_goes_on(threaded, factory):
    gate = factory.gates["a"] = threading.Event()
    manager = caching(threaded, factory, SystemClock())
    with pytest.raises(NotReady):
        manager.acquire("a", version=2, timeout_s=0.01)
    gate.set()
    threaded.settle("a")
    assert ask(manager, "a") == 2
    assert factory.asked == ["a"]


def test_requests_for_one_stream_load_it_once(threaded, factory):
    manager = caching(threaded, factory, SystemClock())
    start = threading.Barrier(8)

    def use(_):
        start.wait(DEADLINE_S)
        return ask(manager, "a", timeout_s=DEADLINE_S)

    with ThreadPoolExecutor(8) as users:
        assert list(users.map(use, range(8))) == [2] * 8
    assert (factory.asked, factory.loaders["a", 1].loads) == (["a"], 1)


def test_requests_for_other_streams_do_not_wait(threaded, factory):
    """Two threads load; one version of stream a, not both, waits for the gate."""
    gate = threading.Event()
    manager = caching(threaded, factory, SystemClock())
    factory.gates["a"] = gate
    with ThreadPoolExecutor(1) as slow:
        waiting = slow.submit(ask, manager, "a", version=2, timeout_s=DEADLINE_S)
        factory.is_asked.wait(DEADLINE_S)
        factory.gates["a"] = None
        assert ask(manager, "b", timeout_s=DEADLINE_S) == 2
        assert not waiting.done()
        gate.set()
        assert waiting.result(DEADLINE_S) == 2


def test_more_streams_than_there_is_room_for_are_all_answered(threaded, factory):
    manager = caching(threaded, factory, SystemClock(), max_streams=1)
    with ThreadPoolExecutor(4) as users:
        answers = list(users.map(lambda number: ask(manager, "abcd"[number % 4], timeout_s=DEADLINE_S), range(40)))
    assert set(answers) <= {1, 2}  # the latest that is available; not all of a stream need be loaded
    assert len(manager.streams()) == 1


def test_a_closed_manager_is_not_waited_for(rig, factory):
    manager = caching(rig, factory)
    rig.manager.close(DEADLINE_S)
    with ThreadPoolExecutor(1) as user:
        asking = user.submit(ask, manager, "a", timeout_s=2 * DEADLINE_S)
        with pytest.raises(NotReady, match="closing"):
            asking.result(DEADLINE_S)


def test_nothing_is_available_before_it_is_asked_for_and_what_is_asked_for_tells_its_states(rig, factory):
    manager = caching(rig, factory)
    assert rig.manager.available() == ()
    ask(manager, "a")
    assert rig.manager.available() == (("a", 1), ("a", 2))
    assert rig.states("a", 2) == ["START", "LOADING", "AVAILABLE"]
    factory.errors["b"] = [ValueError("bad")]
    with pytest.raises(NotReady, match="bad"):
        manager.acquire("b")
    assert rig.states("b", 1) == ["START", "LOADING", "END"]
    assert rig.manager.available() == (("a", 1), ("a", 2))
