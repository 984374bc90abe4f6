"""Which of changed settings a running process takes up."""

from __future__ import annotations

from pipeline.settings import RouteSettings, Settings, StreamSettings, WorkerSettings
from pipeline.settings_file import need_restart, take_servables

M, N = StreamSettings(base_path="/m"), StreamSettings(base_path="/n")
RUNNING = Settings(servables={"m": M}, routes={"m": RouteSettings(servable="m")})


def test_servables_are_taken_and_nothing_else() -> None:
    found = Settings(servables={"m": N, "n": N}, worker=WorkerSettings(load_threads=9))
    taken = take_servables(RUNNING, found)
    assert taken.servables == {"m": N, "n": N}
    assert (taken.routes, taken.worker) == (RUNNING.routes, RUNNING.worker)


def test_what_a_running_route_needs_stays() -> None:
    assert take_servables(RUNNING, Settings()).servables == {"m": M}


def test_the_sections_that_take_a_restart_are_named() -> None:
    assert need_restart(RUNNING, RUNNING) == []
    assert need_restart(RUNNING, Settings(worker=WorkerSettings(load_threads=9))) == ["worker", "routes"]
