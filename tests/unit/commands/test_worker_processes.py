"""Several workers as one command: who is started, who anew, and with which status all of it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, strategies as st

from pipeline.commands import main, worker_processes
from pipeline.commands.worker_processes import shares
from tests.acceptance.workers import wait_for

Start = Callable[[], subprocess.Popen[bytes]]


@given(st.lists(st.integers(0, 200), unique=True, max_size=64), st.integers(1, 64))
def test_cores_are_shared_out_whole_and_evenly(cores: list[int], count: int) -> None:
    found = shares(sorted(cores), count)
    assert len(found) == count
    if count > len(cores):
        assert not any(found)  # bound to nothing
        return
    assert sorted(core for share in found for core in share) == sorted(cores)
    assert max(map(len, found)) - min(map(len, found)) <= 1


# A process of its own, for it takes signals. Its time stands still: however slow the machine is, all is at the start.
RUN = """
import subprocess, sys
from types import SimpleNamespace
from pipeline.commands.worker_processes import WorkerProcesses
starts = [lambda code=code: subprocess.Popen([sys.executable, "-c", code]) for code in sys.argv[1:]]
sys.exit(WorkerProcesses(starts, SimpleNamespace(monotonic_s=lambda: 0.0)).run())
"""


def script(folder: Path, place: int, status: int = 0) -> str:
    """A process that leaves a file ``PLACE.PID`` and ends with a status when SIGTERM comes."""
    return f"""
import os, pathlib, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
pathlib.Path({str(folder)!r}, "{place}.%d" % os.getpid()).touch()
signal.sigwait([signal.SIGTERM])
sys.exit({status})
"""


def lives(folder: Path, place: int) -> list[int]:
    """Return the process ids of one place, in no order."""
    return [int(file.name.partition(".")[2]) for file in folder.glob(f"{place}.*")]


@contextmanager
def running(folder: Path, *scripts: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run them, from when each has begun."""
    run = subprocess.Popen([sys.executable, "-c", RUN, *scripts])
    try:
        wait_for("all run", lambda: all(lives(folder, place) for place in range(len(scripts))))
        yield run
    finally:
        run.terminate()
        run.wait(60)


def test_all_are_started_and_end_together(tmp_path: Path) -> None:
    with running(tmp_path, script(tmp_path, 0), script(tmp_path, 1)) as run:
        run.terminate()
        assert run.wait(60) == 0
    for pid in lives(tmp_path, 0) + lives(tmp_path, 1):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_one_that_ends_is_started_anew_and_its_neighbour_goes_on(tmp_path: Path) -> None:
    with running(tmp_path, script(tmp_path, 0), script(tmp_path, 1)) as run:
        os.kill(lives(tmp_path, 1)[0], signal.SIGTERM)
        wait_for("a second life", lambda: len(lives(tmp_path, 1)) == 2)
        run.terminate()
        assert run.wait(60) == 0
    assert len(lives(tmp_path, 0)) == 1


def test_one_that_fails_at_its_start_ends_all_with_its_status(tmp_path: Path) -> None:
    # The first one may be told to end before it has begun: that is no failure of its own.
    command = [sys.executable, "-c", RUN, script(tmp_path, 0), "raise SystemExit(3)"]
    assert subprocess.run(command, timeout=60, check=False).returncode == 3


def test_the_status_is_that_of_who_does_not_end_in_good_order(tmp_path: Path) -> None:
    with running(tmp_path, script(tmp_path, 0), script(tmp_path, 1, 7)) as run:
        run.terminate()
        assert run.wait(60) == 7


def test_each_process_has_its_own_port_name_and_cores_and_the_first_one_watches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[tuple[list[str], Any]] = []

    class Run:
        def __init__(self, starts: Sequence[Start], clock: Any) -> None:
            for start in starts:
                start()

        def run(self) -> int:
            return 5

    def popen(command: list[str], *, env: Any, **_: Any) -> None:
        commands.append((command, env))

    monkeypatch.setattr(worker_processes, "WorkerProcesses", Run)
    monkeypatch.setattr(worker_processes, "subprocess", SimpleNamespace(Popen=popen, DEVNULL=subprocess.DEVNULL))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    config = tmp_path / "penstock.yaml"
    config.write_text("servables: {a: {base_path: models}}\nroutes: {a: {}}\n")
    arguments = ["--config", str(config), "--processes", "2", "--id", "w", "--web-port", "7000", "--watch"]
    result = CliRunner().invoke(main, ["worker", *arguments, "--log-level", "warning"])
    assert result.exit_code == 5, result.output
    common = ["worker", "--log-level", "WARNING", "--config", str(config)]
    (first, _), (second, environ) = commands
    assert first[4:] == ["0,1", *common, "--web-port", "7000", "--id", "w-0", "--watch"]
    assert second[4:] == ["2,3", *common, "--web-port", "7001", "--id", "w-1"]
    assert environ["PENSTOCK_WATCH__IN_WORKER"] == "false"
