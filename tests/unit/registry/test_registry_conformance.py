"""What TensorFlow Serving's managers pin and no other file here shows, on every shape of pools."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from registry_fakes import DEADLINE_S, LIFE, FakeLoader, FakeServable, Rig

from pipeline.errors import LoadFailed, NotReady, UnknownVersion
from pipeline.registry.manager import Manager
from pipeline.registry.policy import availability_preserving
from pipeline.registry.servable import ServableId
from pipeline.registry.source import Aspired, connect
from pipeline.registry.source_adapter import UnaryAdapter
from pipeline.registry.states import EventBus
from pipeline.testing.fakes import InlineExecutor


def test_an_empty_set_unloads_every_version_and_keeps_the_stream_known(rig):
    loaders = {version: FakeLoader() for version in range(3)}
    rig.aspire("m", loaders)
    rig.settle("m")
    rig.aspire("m", [])
    rig.settle("m")
    assert [(loader.loads, loader.unloads) for loader in loaders.values()] == [(1, 1)] * 3
    with pytest.raises(NotReady):
        rig.manager.acquire("m")
    with pytest.raises(UnknownVersion):
        rig.manager.acquire("m", version=1)
    assert rig.manager.streams() == ("m",)


def test_only_what_is_available_is_listed(rig):
    rig.aspire("m", {1: FakeLoader(), 2: FakeLoader(ValueError("bad")), 3: LoadFailed("m/3", "no adapter")})
    rig.aspire("n", [7])
    rig.settle("m", "n")
    assert rig.manager.available() == (("m", 1), ("n", 7))
    rig.aspire("n", [])
    rig.settle("n")
    assert rig.manager.available() == (("m", 1),)


def test_a_snapshot_tells_every_version_and_where_it_stands(rig):
    rig.aspire("m", {1: FakeLoader(), 2: FakeLoader(ValueError("bad"))})
    rig.settle("m")
    snapshot = rig.manager.snapshot("m")
    assert (snapshot.available, snapshot.generation) == ((1,), 1)
    assert snapshot.states == ("1: AVAILABLE", "2: END (load_failed: m/2: ValueError: bad)")
    assert rig.manager.snapshot("never-aspired") is None


def test_twenty_versions_come_and_go(rig):
    loaders = {version: FakeLoader() for version in range(20)}
    rig.aspire("m", loaders)
    rig.settle("m")
    assert rig.manager.snapshot("m").available == tuple(range(20))
    rig.aspire("m", [])
    rig.settle("m")
    assert [(loader.loads, loader.unloads) for loader in loaders.values()] == [(1, 1)] * 20


def test_twenty_versions_come_and_go_in_turn(rig):
    """A window of three, so that loads and unloads are on their way together."""
    loaders = {version: FakeLoader() for version in range(22)}
    for first in range(20):
        rig.aspire("m", {version: loaders[version] for version in range(first, first + 3)})
    rig.settle("m")
    assert rig.manager.snapshot("m").available == (19, 20, 21)
    assert all(loader.loads == loader.unloads for version, loader in loaders.items() if version < 19)


def test_of_several_that_withdraw_a_version_at_once_one_unloads_it(rig):
    loader, start = FakeLoader(), threading.Barrier(4)
    rig.aspire("m", {1: loader})
    rig.settle("m")

    def withdraw(_):
        start.wait(DEADLINE_S)
        rig.aspire("m", [])

    with ThreadPoolExecutor(4) as racers:
        list(racers.map(withdraw, range(4)))
    rig.settle("m")
    assert loader.unloads == 1
    assert rig.states("m", 1) == LIFE


def test_while_the_newest_drains_the_latest_is_the_next_one(rig):
    rig.aspire("m", [1, 2])
    rig.settle("m")
    with rig.manager.acquire("m") as handle:
        rig.aspire("m", [1])
        assert handle.id.version == 2
        assert rig.latest("m") == 1
        assert rig.states("m", 2) == LIFE[:4]
    rig.settle("m")
    assert rig.states("m", 2) == LIFE


def test_a_version_in_use_is_not_dropped_whatever_is_aspired_or_forgotten(rig):
    rig.aspire("m", [1])
    rig.settle("m")
    handle = rig.manager.acquire("m")
    rig.aspire("m", [])
    rig.manager.forget("m", 2)
    assert handle.servable.is_loaded
    assert rig.states("m", 1) == LIFE[:4]
    handle.release()


def test_going_back_to_the_version_that_still_serves_after_its_successor_failed_loads_nothing(rig):
    old = FakeLoader()
    rig.aspire("m", {1: old})
    rig.settle("m")
    rig.aspire("m", {2: FakeLoader(ValueError("bad"))})
    rig.settle("m")
    rig.aspire("m", [1, 3])
    rig.settle("m")
    assert rig.manager.available() == (("m", 1), ("m", 3))
    assert (old.loads, old.unloads) == (1, 0)
    assert rig.states("m", 1) == LIFE[:3]


def test_a_source_reaches_the_manager_through_a_chain_of_adapters(rig):
    class Source:
        def set_target(self, target):
            self.target = target

    source, prefix, to_loader = (
        Source(),
        UnaryAdapter(lambda item: f"/models/{item.data}"),
        UnaryAdapter(lambda item: FakeLoader(tag=item.data)),
    )
    connect(to_loader, rig.manager)
    connect(prefix, to_loader)
    connect(source, prefix)
    source.target.set_aspired("m", [Aspired(ServableId("m", 1), "m/1")], {"stable": 1}, 1)
    rig.settle("m")
    with rig.manager.acquire("m", label="stable") as handle:
        assert handle.servable.tag == "/models/m/1"


def test_handles_are_taken_held_and_given_back_on_an_event_loop(rig):
    """Neither taking nor giving back waits: what else the loop does goes on while a version is swapped."""
    answers = []

    async def ask():
        for _ in range(20):
            with rig.manager.acquire("m") as handle:
                await asyncio.sleep(0)
                handle.servable.predict("", {})
                answers.append(handle.id.version)

    async def swap():
        for version in range(2, 12):
            rig.aspire("m", [version])
            await asyncio.sleep(0)

    async def all_together():
        await asyncio.gather(*(ask() for _ in range(5)), swap())

    rig.aspire("m", [1])
    rig.settle("m")
    asyncio.run(all_together())
    rig.settle("m")
    assert len(answers) == 100
    assert rig.manager.available() == (("m", 11),)


def test_a_policy_sees_every_version_of_its_stream_and_of_no_other():
    seen = []

    def watch(stream):
        seen.append({(version.version, version.is_aspired) for version in stream})
        return availability_preserving(stream)

    rig = Rig(InlineExecutor(), InlineExecutor(), policies={"m": watch})
    rig.aspire("n", [9])
    rig.aspire("m", {1: FakeLoader(), 2: FakeLoader(ValueError("bad"))})
    rig.aspire("m", [2, 3])
    assert {(1, True), (2, True)} in seen
    assert {(1, False), (2, True), (3, True)} in seen
    assert not any(9 in {version for version, _ in stream} for stream in seen)
    rig.manager.close(DEADLINE_S)


def test_a_bus_without_subscribers_hurts_nobody():
    rig = Rig(InlineExecutor(), InlineExecutor())
    manager = Manager(availability_preserving, rig.load_pool, rig.unload_pool, EventBus(), rig.clock, timer=rig.timer)
    manager.set_aspired("m", [Aspired(ServableId("m", 1), FakeLoader())], {}, 1)
    assert manager.available() == (("m", 1),)
    assert manager.close(DEADLINE_S) == ()


def test_the_last_reference_to_a_servable_goes_on_the_unload_pool(threaded):
    """And with it whatever its destructor frees; whoever gave the last handle back does not do it."""
    destroyed_on = []

    class Heavy(FakeServable):
        def __del__(self):
            destroyed_on.append(threading.current_thread().name)

    class HeavyLoader(FakeLoader):
        def load(self):
            self.servable = Heavy()
            return self.servable

    threaded.aspire("m", {1: HeavyLoader()})
    threaded.settle("m")
    everybody = threading.Barrier(3)  # both threads of the load pool have returned from what they did before
    for _ in range(2):
        threaded.load_pool.submit(everybody.wait, 20)
    everybody.wait(20)
    handle = threaded.manager.acquire("m")
    threaded.aspire("m", [])
    handle.release()
    threaded.settle("m")
    gc.collect()
    assert [name.split("_")[0] for name in destroyed_on] == ["unload"]


def test_ids_are_compared_by_name_and_then_by_number():
    assert ServableId("m", 1) == ServableId("m", 1)
    assert ServableId("m", 1) != ServableId("m", 2)
    assert sorted([ServableId("n", 1), ServableId("m", 10), ServableId("m", 9)]) == [("m", 9), ("m", 10), ("n", 1)]
    assert len({ServableId("m", 1), ServableId("m", 1), ServableId("n", 1)}) == 2
