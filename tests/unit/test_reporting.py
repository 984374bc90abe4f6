"""What a worker says about its streams, and that it needs no broker to start and to stop."""

from __future__ import annotations

import time
from typing import Any

from pipeline.clock import SystemClock
from pipeline.records import AspiredVersion, AspiredVersions, StreamState
from pipeline.registry.manager import Manager
from pipeline.registry.policy import availability_preserving
from pipeline.registry.states import EventBus
from pipeline.reporting import Reporter
from pipeline.rollout import RollOut
from pipeline.settings import Settings, StreamSettings
from tests.unit.registry.registry_fakes import ManualExecutor, ManualTimer

SETTINGS = Settings(
    kafka={"bootstrap.servers": "127.0.0.1:1"}, servables={"m": StreamSettings("/m", kind="lookup", isolation="thread")}
)


class Reporting:
    """A reporter and what it reports on; loads and unloads run when they are told to."""

    def __init__(self) -> None:
        self.loads, self.bus, clock = ManualExecutor(), EventBus(), SystemClock()
        self.manager = Manager(
            availability_preserving, self.loads, ManualExecutor(), self.bus, clock, timer=ManualTimer()
        )
        self.rollout = RollOut(SETTINGS, self.manager)
        self.reporter = Reporter(SETTINGS, "w", self.manager, self.bus, clock)

    def aspire(self, generation: int, *numbers: int, **labels: int) -> None:
        versions = tuple(AspiredVersion(number, f"/nowhere/{number}") for number in numbers)
        self.rollout.aspire(AspiredVersions("m", versions, labels=labels), generation)
        self.reporter.taken_up("m", generation)


def test_a_stream_that_was_never_aspired_has_no_generation() -> None:
    assert Reporting().reporter.look("m") == StreamState("m")


def test_a_stream_is_settled_at_its_generation_when_every_version_has_ended_or_is_there() -> None:
    it = Reporting()
    it.aspire(7, 1, stable=1)
    assert it.reporter.look("m") == StreamState("m", 7, is_settled=False, labels={"stable": 1})
    it.loads.drain()  # and fails: there is nothing
    assert it.reporter.look("m") == StreamState("m", 7, is_settled=True, labels={"stable": 1})


def test_an_empty_set_and_a_tombstone_are_followed_too() -> None:
    it = Reporting()
    it.aspire(7)
    assert it.reporter.look("m") == StreamState("m", 7, is_settled=True)
    it.rollout.forget("m", 8)
    it.reporter.taken_up("m", 8)
    assert it.reporter.look("m") == StreamState("m", 8, is_settled=True)


def test_a_broker_that_is_away_holds_up_neither_the_start_nor_an_event_nor_the_end(caplog: Any) -> None:
    it = Reporting()
    began = time.monotonic()
    it.reporter.start()
    it.aspire(7, 1)
    it.loads.drain()
    assert time.monotonic() - began < 2.0
    it.manager.close(0.1)
    it.reporter.close(0.3)
    assert time.monotonic() - began < 10.0
    assert "states were not published" in caplog.text
