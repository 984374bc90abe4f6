"""Starts child processes on one thread of its own, which outlives them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Final

CHILD: Final = "pipeline.isolation.child"


class Spawner:
    """Starts children from one thread. Any thread may ask; it waits for the start, some milliseconds.

    On Linux a child asks to be killed when its parent dies, and the kernel takes the thread that started it for its
    parent: so that thread must stay, and does until nobody has the spawner any more. A child also begins with the
    thread's niceness, which it could not lower again: whoever loads at low priority calls ``open`` before, from a
    thread of normal priority.
    """

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "penstock-spawner")

    def open(self) -> None:
        """Start the thread, if it does not run yet, with the priority of the calling one."""
        self._pool.submit(int).result()

    def start(self, connected: socket.socket) -> subprocess.Popen[bytes]:
        """Start a child that talks over ``connected``; what it prints comes by the pipe. Raises OSError."""
        return self._pool.submit(_start, connected.fileno()).result()


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
