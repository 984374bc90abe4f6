"""What becomes of a contender that dies, hangs or is paused."""

from __future__ import annotations

import os
import sys

import pytest

from benchmarks.process import BenchmarkError, Cores, paused, running

NOBODY = Cores(frozenset(), frozenset())
SERVES = """
import signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
print("up", flush=True)
while True:
    signal.pause()
"""


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log"


@pytest.fixture
def start(log):
    """Return what starts a contender of some Python, by default one that serves until it is asked to end."""
    return lambda code=SERVES: running([sys.executable, "-c", code], log, NOBODY)


def wait_until_up(contender, log):
    contender.wait(lambda: log.read_text() == "up\n", "its start", 60)


def test_one_that_dies_is_told_with_its_status_and_the_end_of_its_log(start):
    with (
        pytest.raises(BenchmarkError, match=r"before it was asked to\n(?s:.*)ended with status 3(?s:.*)no such topic"),
        start("import sys; print('no such topic'); sys.exit(3)") as contender,
    ):
        contender.wait(lambda: False, "answering", 60)


def test_one_that_hangs_is_told_with_the_end_of_its_log_and_killed(start, log):
    def hang():
        nonlocal contender
        with start() as contender:
            wait_until_up(contender, log)
            contender.wait(lambda: False, "answering", 0)

    contender = None
    with pytest.raises(BenchmarkError, match=r"answering took more than 0 s\n(?s:.*)still running(?s:.*)up"):
        hang()
    assert contender._child.exit_code == -9


def test_what_fails_beside_it_is_told_with_its_log_too(start):
    with pytest.raises(BenchmarkError, match=r"the probe failed(?s:.*)still running"), start():
        raise BenchmarkError("the probe failed")


def test_one_that_does_not_end_in_good_order_has_failed(start):
    with pytest.raises(BenchmarkError, match=r"good order(?s:.*)status -15"), start("import signal; signal.pause()"):
        pass


def test_a_paused_one_stands_still_and_then_goes_on(start, log):
    with start() as contender:
        wait_until_up(contender, log)
        pid = contender._child.pid
        with paused([contender]):
            assert os.waitid(os.P_PID, pid, os.WSTOPPED).si_pid == pid
        assert os.waitid(os.P_PID, pid, os.WCONTINUED).si_pid == pid


def test_one_that_has_ended_before_it_was_asked_to_has_failed(start):
    with pytest.raises(BenchmarkError, match="before it was asked to"), start("") as contender:
        contender._child._process.wait()


def test_one_that_has_ended_can_not_be_paused(start):
    def pause():
        with start("") as contender:
            contender._child._process.wait()
            with paused([contender]):
                pytest.fail("nobody noticed")

    with pytest.raises(BenchmarkError, match="before it was asked to"):
        pause()
