"""What holds with real threads: nobody waits for a load, nobody sees an unloaded servable, nothing is left behind."""

from __future__ import annotations

import contextlib
import gc
import logging
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings, strategies as st
from registry_fakes import DEADLINE_S, FakeLoader, ManualExecutor, Rig

from pipeline.clock import SystemClock
from pipeline.errors import NotReady, UnknownServable
from pipeline.registry.servable import ServableId
from pipeline.registry.source import Aspired
from pipeline.registry.timer import ThreadTimer
from pipeline.testing.fakes import InlineExecutor


def test_loads_and_unloads_run_on_their_pools(threaded):
    loader = FakeLoader()
    threaded.aspire("m", {1: loader})
    threaded.settle("m")
    threaded.aspire("m", [])
    threaded.settle("m")
    assert [name.split("_")[0] for name in loader.threads] == ["load", "unload"]


def test_nobody_waits_for_a_load_that_takes_its_time(threaded):
    gate = threading.Event()
    slow = FakeLoader(gate=gate)
    threaded.aspire("slow", {1: slow})
    assert slow.began.wait(DEADLINE_S)
    threaded.aspire("m", [1])
    threaded.settle("m")
    assert threaded.latest("m") == 1
    with pytest.raises(NotReady, match="1: LOADING"):
        threaded.manager.acquire("slow")
    assert threaded.manager.wait_settled(["slow", "m"], 0.01) == {"slow": ("1: LOADING",)}
    gate.set()
    threaded.settle("slow")


def test_a_load_that_ends_after_it_was_unaspired_is_unloaded_and_never_available(threaded):
    gate = threading.Event()
    loader = FakeLoader(gate=gate)
    threaded.aspire("m", {1: loader})
    assert loader.began.wait(DEADLINE_S)
    threaded.aspire("m", [])
    assert not threaded.manager.is_settled("m")
    gate.set()
    threaded.settle("m")
    assert threaded.states("m", 1) == ["START", "LOADING", "END"]
    assert threaded.last("m", 1).error.code == "load_cancelled"
    assert (loader.loads, loader.unloads) == (1, 1)


def test_a_load_that_was_unaspired_and_aspired_again_in_time_goes_on(threaded):
    gate = threading.Event()
    loader, spare = FakeLoader(gate=gate), FakeLoader()
    threaded.aspire("m", {1: loader}, digest="a")
    assert loader.began.wait(DEADLINE_S)
    threaded.aspire("m", [])
    threaded.aspire("m", {1: spare}, digest="a")
    gate.set()
    threaded.settle("m")
    assert (loader.loads, spare.loads) == (1, 0)
    assert threaded.states("m", 1) == ["START", "LOADING", "AVAILABLE"]


def test_a_load_whose_content_changed_meanwhile_is_replaced_when_it_ends(threaded):
    gate = threading.Event()
    old, new = FakeLoader(gate=gate), FakeLoader()
    threaded.aspire("m", {1: old}, digest="a")
    assert old.began.wait(DEADLINE_S)
    threaded.aspire("m", {1: new}, digest="b")
    gate.set()
    threaded.settle("m")
    assert (old.unloads, new.loads) == (1, 1)
    assert threaded.states("m", 1) == ["START", "LOADING", "END", "START", "LOADING", "AVAILABLE"]


def test_closing_gives_up_on_a_load_that_does_not_end_and_unloads_it_when_it_does(threaded):
    gate = threading.Event()
    loader = FakeLoader(gate=gate)
    threaded.aspire("m", {1: loader})
    assert loader.began.wait(DEADLINE_S)
    assert threaded.manager.close(0.01) == ("m/1: LOADING",)
    assert threaded.states("m", 1) == ["START", "LOADING", "END"]
    gate.set()
    threaded.load_pool.shutdown()
    threaded.unload_pool.shutdown()
    assert loader.unloads == 1
    assert threaded.states("m", 1) == ["START", "LOADING", "END"]


def test_a_retry_comes_from_the_thread_timer_and_no_pool_thread_waits():
    with ThreadPoolExecutor(1) as pool:
        rig = Rig(pool, pool, timer=ThreadTimer(SystemClock()), retry_interval_s=0.05)
        rig.aspire("m", {1: FakeLoader(OSError("busy"))})
        rig.aspire("n", [1])
        rig.settle("n")
        rig.settle("m")
        assert rig.latest("m") == 1
        rig.manager.close(5)


def test_swaps_under_load_lose_no_request_and_show_no_unloaded_servable(threaded, switch_often):
    failures, done = [], threading.Event()
    threaded.aspire("m", [0])
    threaded.settle("m")

    def use():
        while not done.is_set():
            try:
                with threaded.manager.acquire("m") as handle:
                    handle.servable.predict("", {})
            except Exception as error:  # noqa: BLE001  # any failure at all is what the test looks for
                failures.append(repr(error))
                return

    users = [threading.Thread(target=use) for _ in range(4)]
    for user in users:
        user.start()
    try:
        for version in range(1, 101):
            threaded.aspire("m", [version])
            threaded.settle("m")
    finally:
        done.set()
        for user in users:
            user.join(DEADLINE_S)
    assert failures == []
    assert threaded.manager.available() == (("m", 100),)


def test_one_incarnation_is_loaded_and_unloaded_once_however_many_aspire_at_once(threaded):
    loaders = [FakeLoader() for _ in range(8)]
    start = threading.Barrier(8)

    def aspire(loader):
        start.wait(DEADLINE_S)
        threaded.aspire("m", {1: loader})

    with ThreadPoolExecutor(8) as racers:
        list(racers.map(aspire, loaders))
    threaded.settle("m")
    assert sum(loader.loads for loader in loaders) == 1


@pytest.fixture
def no_logs():
    """A log record keeps the traceback of what was logged, and pytest keeps the records."""
    logging.disable()
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.usefixtures("no_logs")
@pytest.mark.parametrize("pools", ["inline", "manual", "threads"])
def test_nothing_is_left_after_an_unload_a_failure_and_a_cancellation(pools):
    make = {"inline": InlineExecutor, "manual": ManualExecutor, "threads": lambda: ThreadPoolExecutor(2)}[pools]
    rig = Rig(make(), make())
    loaders = {1: FakeLoader(), 2: FakeLoader(ValueError("bad")), 3: FakeLoader()}
    watched = [weakref.ref(loader) for loader in loaders.values()]
    rig.aspire("m", loaders)
    if pools == "manual":
        rig.load_pool.step()
        rig.load_pool.step()
    else:
        rig.settle("m")
    handle = rig.manager.acquire("m")
    watched.append(weakref.ref(handle.servable))
    handle.release()
    rig.aspire("m", [])
    if pools == "manual":
        rig.run_until_quiet()
    rig.settle("m")
    del loaders
    deadline = time.monotonic() + DEADLINE_S
    while any(ref() is not None for ref in watched) and time.monotonic() < deadline:
        gc.collect()
    assert [ref() for ref in watched] == [None] * 4
    rig.manager.close(1)
    rig.load_pool.shutdown()
    rig.unload_pool.shutdown()


ASPIRATION = st.one_of(
    st.none(),
    st.dictionaries(st.integers(0, 4), st.tuples(st.booleans(), st.sampled_from("ab")), max_size=4),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(ASPIRATION, st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=12))
def test_any_sequence_of_aspirations_ends_in_the_set_that_the_last_one_names(sequence):
    rig = Rig(ManualExecutor(), ManualExecutor())
    held = []
    for aspiration, loads, unloads in sequence:
        if aspiration is None:
            rig.manager.forget("m", 0)
        else:
            for digest in sorted({digest for _, digest in aspiration.values()} or {"a"}):
                versions = {
                    version: FakeLoader(*([] if is_good else [ValueError("bad")]), tag=digest)
                    for version, (is_good, digest) in aspiration.items()
                }
                rig.aspire("m", versions, digest=digest)
        for pool, count in ((rig.load_pool, loads), (rig.unload_pool, unloads)):
            for _ in range(min(count, len(pool.jobs))):
                pool.step()
        with contextlib.suppress(NotReady, UnknownServable):
            held.append(rig.manager.acquire("m"))
    for handle in held:
        assert handle.servable.is_loaded
        handle.release()
    rig.run_until_quiet()
    check_the_end(rig, sequence[-1][0])
    rig.aspire("m", [])
    rig.run_until_quiet()
    assert rig.manager.close(0) == ()
    for version in {event.id.version for event in rig.events}:
        check_the_lives(rig.states("m", version))


def check_the_end(rig, last):
    if last is None:
        assert rig.manager.streams() == ()
        assert rig.manager.available() == ()
    else:
        assert rig.manager.is_settled("m")
        snapshot = rig.manager.snapshot("m")
        assert {int(state.split(":")[0]) for state in snapshot.states} - set(snapshot.available) <= set(last)
        extra = set(snapshot.available) - set(last)
        assert not extra or (last and not set(snapshot.available) & set(last) and len(extra) == 1)


def check_the_lives(states):
    assert states[-1] == "END"
    order = ["START", "LOADING", "AVAILABLE", "UNLOADING"]
    for life in " ".join(states).split("END"):
        places = [order.index(name) for name in life.split()]
        assert places == sorted(set(places))


def test_a_call_that_is_cancelled_at_the_last_moment_does_not_stop_the_timer():
    """Between the moment when the timer's thread takes it up and the call itself."""
    timer, made = ThreadTimer(SystemClock()), threading.Event()
    take_up = timer._next

    def take_up_and_cancel():
        timer._next = take_up
        slot = take_up()
        slot.clear()
        return slot

    timer._next = take_up_and_cancel
    timer.call_later(0, lambda: None)
    timer.call_later(0, made.set)
    assert made.wait(DEADLINE_S)
    timer.stop()


def test_a_stream_that_another_thread_is_still_moving_is_not_settled(manual):
    """The other thread takes the step up, and ends it, while somebody asks."""
    manual.aspire("m", [1])
    manual.run_until_quiet()
    stream = manual.manager._streams["m"]
    item = Aspired(ServableId("m", 2), FakeLoader())
    stream.mailbox.put(lambda: stream.aspire([item], {}, 2))
    is_idle = stream.mailbox.is_idle

    def is_idle_meanwhile():
        stream.mailbox.run()
        return is_idle()

    stream.mailbox.is_idle = is_idle_meanwhile
    assert not manual.manager.is_settled("m")
