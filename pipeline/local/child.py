"""A child process that never outlives this one."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

# Waits for the end of its input, which comes when the parent closes it or is gone, then kills the child's group.
# Linux's parent-death signal would do without this process, but it fires when the *thread* that started the child ends.
_WATCH = 'read -r _; kill -KILL "-$1" 2>/dev/null'


class Child:
    """A running program, in a session of its own, whose output goes to the end of a file.

    It ends when this process ends, SIGKILL included, because a small shell watches a pipe that only this process holds.
    (A fork of this process that execs nothing holds the pipe too.) Ctrl-C in the terminal does not reach it: its owner
    decides the order of the shutdown. Safe to use from any thread; one thread at a time.
    """

    def __init__(self, argv: Sequence[str | Path], log_path: Path) -> None:
        """Start the program; raises OSError when it can not be executed."""
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  # the callers' fixed programs, no shell
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            self._watch = subprocess.Popen(  # noqa: S603  # a fixed program
                ["/bin/sh", "-c", _WATCH, "watch", str(self._process.pid)],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self) -> int:
        """The program's process id, also after its end."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs; minus the signal's number when a signal ended it."""
        return self._process.poll()

    def stop(self, timeout_s: float) -> None:
        """Ask it to end (SIGTERM), wait, and kill it when it has not ended in time. Nothing happens the second time."""
        if self.exit_code is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """End it now (SIGKILL), with everything it has started, and wait until it is gone."""
        with suppress(ProcessLookupError, PermissionError):  # gone already; macOS says so by the latter
            if self.exit_code is None:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._release_watch()

    def _release_watch(self) -> None:
        watch = getattr(self, "_watch", None)
        if watch is None:
            return
        # Killed before its pipe is closed: it must not fire at a process id that the system has given to another.
        watch.kill()
        watch.wait()
        if watch.stdin is not None:
            watch.stdin.close()
