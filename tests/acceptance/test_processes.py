"""``penstock worker --processes 2``: two workers of one group that live and die as one command."""

from __future__ import annotations

import signal
from contextlib import suppress

import psutil

from pipeline.local.ports import free_ports
from tests.acceptance.conftest import Deploy
from tests.acceptance.traffic import Traffic
from tests.acceptance.workers import Deployment, Process, wait_for

IDS = {"w-0", "w-1"}


def test_they_share_the_load_replace_who_is_killed_and_end_together(deploy: Deploy) -> None:
    it = deploy()
    it.drop("factor", 1, {"factor": b"1"})
    both = start(it)
    wait_for("both alive", lambda: alive(it) == IDS)
    with Traffic(it.bootstrap, it.settings.routes["factor"], per_s=200) as traffic:
        wait_for("answers", lambda: traffic.by_version()[1] > 200)
        killed = child(both, "w-1")
        killed.kill()
        wait_for("another in its place", lambda: child(both, "w-1").pid != killed.pid)
        before = traffic.by_version()[1]
        wait_for("more answers", lambda: traffic.by_version()[1] > before + 200)
        traffic.finish()
        assert traffic.unanswered() == set()
        assert traffic.errors() == []
    both.signal(signal.SIGTERM)
    assert both.wait() == 0
    assert "has ended with -9; it starts anew" in both.log


def test_none_outlives_the_command_that_is_killed(deploy: Deploy) -> None:
    it = deploy()
    it.drop("factor", 1, {"factor": b"1"})
    both = start(it)
    wait_for("both alive", lambda: alive(it) == IDS)
    children = [child(both, name) for name in IDS]
    both.kill()
    wait_for("nobody runs", lambda: not any(one.is_running() for one in children))


def start(it: Deployment) -> Process:
    """Start both; the first one watches."""
    [port] = free_ports(1, and_above=1)
    arguments = ["--id", "w", "--web-port", str(port), "--processes", "2", "--watch"]
    return it.process("both", "worker", *arguments)


def alive(it: Deployment) -> set[str]:
    """Return who serves version 1."""
    return {worker for worker, stream, version in it.states() if (stream, version) == ("factor", 1)}


def child(both: Process, name: str) -> psutil.Process:
    """Return the process of a worker, waiting for it."""

    def found() -> list[psutil.Process]:
        return [one for one in psutil.Process(both.popen.pid).children() if is_it(one)]

    def is_it(one: psutil.Process) -> bool:
        with suppress(psutil.Error):  # it has ended, or just begins
            return name in one.cmdline()
        return False

    return wait_for(f"process of {name}", found)[0]
