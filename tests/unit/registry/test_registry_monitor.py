"""What the monitor knows, and whom it tells."""

from __future__ import annotations

import threading

import pytest
from registry_fakes import DEADLINE_S, FakeLoader

from pipeline.records import State
from pipeline.registry.monitor import StateMonitor
from pipeline.registry.servable import ServableId
from pipeline.registry.states import EventBus, VersionState

ONE, TWO = ServableId("m", 1), ServableId("m", 2)


@pytest.fixture
def bus():
    return EventBus()


def say(bus, state, id_=ONE, incarnation=1, **more):
    event = VersionState(id_, state, incarnation=incarnation, **more)
    bus.publish(event)
    return event


def test_it_knows_the_last_state_of_each_version_the_highest_first(bus):
    monitor = StateMonitor(bus)
    assert monitor.state(ONE) is None
    assert monitor.versions("m") == {}
    say(bus, State.START)
    last = say(bus, State.LOADING)
    newer = say(bus, State.START, TWO)
    assert monitor.state(ONE) is last
    assert list(monitor.versions("m").items()) == [(2, newer), (1, last)]
    assert monitor.streams() == {"m": {2: newer, 1: last}}


def test_live_is_what_has_not_ended_and_available_is_what_is(bus):
    monitor = StateMonitor(bus)
    say(bus, State.END)
    loading = say(bus, State.LOADING, TWO)
    other = say(bus, State.AVAILABLE, ServableId("n", 1))
    say(bus, State.END, ServableId("o", 1))
    assert monitor.live() == {"m": {2: loading}, "n": {1: other}}
    assert monitor.available() == {("n", 1)}


def test_ended_versions_are_forgotten_when_told_or_when_there_are_too_many(bus):
    monitor = StateMonitor(bus, max_ended=2)
    for version in range(5):
        say(bus, State.END, ServableId("m", version))
    say(bus, State.AVAILABLE, ServableId("m", 9))
    assert list(monitor.versions("m")) == [9, 4, 3]
    monitor.forget_ended()
    assert list(monitor.versions("m")) == [9]


def test_the_log_is_bounded_and_off_unless_asked_for(bus):
    off, on = StateMonitor(bus), StateMonitor(bus, max_events=2)
    events = [say(bus, state) for state in (State.START, State.LOADING, State.AVAILABLE)]
    assert off.log() == ()
    assert on.log() == tuple(events[1:])


def test_of_two_incarnations_the_one_that_lives_counts_and_of_two_such_the_newer(bus):
    monitor = StateMonitor(bus)
    old = say(bus, State.AVAILABLE)
    new = say(bus, State.LOADING, incarnation=2)
    assert monitor.state(ONE) is new
    say(bus, State.END, incarnation=2)
    assert monitor.state(ONE) is old
    say(bus, State.END)
    assert monitor.state(ONE).incarnation == 2


def told(monitor, wanted, goal=State.AVAILABLE):
    heard = []
    monitor.notify(wanted, goal, heard.append)
    return heard


def test_a_wish_for_nothing_is_fulfilled_at_once(bus):
    assert told(StateMonitor(bus), []) == [{}]


def test_a_wish_for_one_version_is_told_once_and_waits_for_that_version(bus):
    monitor = StateMonitor(bus)
    heard = told(monitor, [ONE])
    say(bus, State.AVAILABLE, TWO)
    say(bus, State.LOADING)
    assert heard == []
    say(bus, State.AVAILABLE)
    say(bus, State.UNLOADING)
    assert heard == [{ONE: True}]


def test_a_wish_for_one_version_fails_when_it_ends(bus):
    monitor = StateMonitor(bus)
    heard = told(monitor, [ONE])
    say(bus, State.END)
    assert heard == [{ONE: False}]


def test_a_wish_for_any_version_takes_the_first_and_fails_when_all_have_ended(bus):
    monitor = StateMonitor(bus)
    fulfilled, failed = told(monitor, ["m"]), told(monitor, ["n"])
    say(bus, State.LOADING, ServableId("n", 2))
    say(bus, State.END, ServableId("n", 1))
    assert failed == []
    say(bus, State.END, ServableId("n", 2))
    say(bus, State.LOADING, TWO)
    say(bus, State.AVAILABLE, ONE)
    assert (fulfilled, failed) == ([{"m": True}], [{"n": False}])


def test_several_wishes_are_told_together_and_at_once_where_they_are_decided(bus):
    monitor = StateMonitor(bus)
    say(bus, State.AVAILABLE)
    say(bus, State.END, TWO)
    assert told(monitor, [ONE, TWO, "m"]) == [{ONE: True, TWO: False, "m": True}]


def test_a_cancelled_wish_is_never_told(bus):
    monitor = StateMonitor(bus)
    heard = []
    cancel = monitor.notify([ONE], State.AVAILABLE, heard.append)
    cancel()
    cancel()
    say(bus, State.AVAILABLE)
    assert heard == []


def test_a_wait_that_times_out_says_what_it_has_and_leaves_nothing_registered(bus):
    monitor = StateMonitor(bus)
    say(bus, State.AVAILABLE)
    assert monitor.wait([ONE, TWO], State.AVAILABLE, 0.01) == {ONE: True}
    assert monitor._waiters == []


def test_a_wait_ends_with_the_event_that_decides(threaded):
    monitor = StateMonitor(threaded.bus)
    gate = threading.Event()
    threaded.aspire("m", {1: FakeLoader(gate=gate), 2: FakeLoader(ValueError("bad"))})
    waited = {}
    waiter = threading.Thread(target=lambda: waited.update(monitor.wait([ONE, TWO], State.AVAILABLE, DEADLINE_S)))
    waiter.start()
    gate.set()
    waiter.join(DEADLINE_S)
    assert waited == {ONE: True, TWO: False}


def test_a_closed_monitor_hears_no_more(bus):
    monitor = StateMonitor(bus)
    monitor.close()
    say(bus, State.AVAILABLE)
    assert monitor.state(ONE) is None
