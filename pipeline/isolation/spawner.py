"""Starts child processes on one thread of its own, which outlives them."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

CHILD: Final = "pipeline.isolation.child"


class Spawner:
    """Starts children from one thread. Any thread may ask; it waits for the start, some milliseconds.

    On Linux a child asks to be killed when its parent dies, and the kernel takes the thread that started it for its
    parent: so that thread stays from the first ``open`` to the last ``close``, which whoever has children calls before
    and after. A child also begins with the thread's niceness, which it could not lower again: where loads run at low
    priority, a thread of normal priority calls ``open`` first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._is_ended = False
        self._started: list[subprocess.Popen[bytes]] = []
        self._pool: ThreadPoolExecutor | None = None

    def open(self) -> None:
        """Start the thread, if it does not run yet, with the priority of the calling one."""
        with self._lock:
            self._users += 1
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, "penstock-spawner")
                self._pool.submit(int).result()

    def close(self) -> None:
        """Say that one who has opened it has no child any more; the last one ends the thread."""
        with self._lock:
            self._users -= 1
            if not self._users and self._pool is not None:
                self._pool.shutdown()
                self._pool = None

    def start(self, connected: socket.socket) -> subprocess.Popen[bytes]:
        """Start a child that talks over ``connected``; what it prints comes by the pipe. Raises OSError."""
        with self._lock:
            if self._pool is None or self._is_ended:
                raise OSError("the spawner of child processes is closed")
            started = self._pool.submit(_start, connected.fileno()).result()
            self._started = [one for one in self._started if one.poll() is None] + [started]
        return started

    def end_all(self) -> None:
        """Kill all children that still run, and start none any more: whoever waits for one has its error now."""
        with self._lock:
            self._is_ended = True
            for one in self._started:
                with suppress(ProcessLookupError, PermissionError):
                    if one.poll() is None:
                        os.killpg(one.pid, signal.SIGKILL)


def _start(descriptor: int) -> subprocess.Popen[bytes]:
    # What the worker can import, the child can; -P: and not also what lies in the working directory.
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(  # noqa: S603  # this Python, with a module of ours
        [sys.executable, "-P", "-X", "faulthandler", "-m", CHILD, str(descriptor), str(os.getpid())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environ,
        pass_fds=[descriptor],
        # Ctrl-C and a signal to the worker's group do not reach it: its requests are answered first.
        start_new_session=True,
    )
