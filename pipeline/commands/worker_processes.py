"""``penstock worker --processes N``: several workers, a process and a share of the cores each, as one command."""

from __future__ import annotations

import ctypes
import itertools
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.clock import Clock
from pipeline.isolation.crew import pause_s

logger = logging.getLogger(__name__)

_PR_SET_PDEATHSIG: Final = 1
# Who ends sooner than this after the first start has never served: that is the settings or the broker, and no accident.
_SETTLING_S: Final = 10.0
# Who has lived for so long has recovered.
_RECOVERED_S: Final = 60.0
_STOPS: Final = (signal.SIGTERM, signal.SIGINT)


def shares(cores: Sequence[int], count: int) -> list[frozenset[int]]:
    """Return the cores of each of ``count`` processes: neighbours, about as many each; none where there are too few."""
    if count > len(cores):
        return [frozenset()] * count
    bounds = [place * len(cores) // count for place in range(count + 1)]
    return [frozenset(cores[start:end]) for start, end in itertools.pairwise(bounds)]


@dataclass
class _Process:
    """One place, and the process in it."""

    start: Callable[[], subprocess.Popen[bytes]]
    running: subprocess.Popen[bytes] | None = None
    since_s: float = 0.0
    lives: int = 0
    failures: int = 0
    due_s: float | None = 0.0


class WorkerProcesses:
    """Starts all, starts those anew that end, and ends all together. Runs on the main thread, for it takes signals."""

    def __init__(self, starts: Sequence[Callable[[], subprocess.Popen[bytes]]], clock: Clock) -> None:
        self._processes = [_Process(start) for start in starts]
        self._clock = clock
        # A process and the status with which it has ended, or None: a signal has come.
        self._events: queue.SimpleQueue[tuple[int, int] | None] = queue.SimpleQueue()
        self._is_stopping = False
        self._status = 0

    def run(self) -> int:
        """Return the exit status, when SIGTERM or SIGINT has come and all have ended.

        It is 0 when all did so in good order, else that of the first that did not. A process that gives up right after
        the first start ends all of them. One that ends otherwise is started anew, after a pause if it does so again.
        """
        before = {number: signal.signal(number, lambda *_: self._events.put(None)) for number in _STOPS}
        try:
            began_s = self._clock.monotonic_s()
            while not (self._is_stopping and all(process.running is None for process in self._processes)):
                self._start_due()
                try:
                    event = self._events.get(timeout=self._pause_s())
                except queue.Empty:
                    continue
                if event is None:
                    self._stop()
                else:
                    self._has_ended(*event, began_s)
            return self._status
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _start_due(self) -> None:
        now_s = self._clock.monotonic_s()
        for place, process in enumerate(self._processes):
            if self._is_stopping or process.due_s is None or process.due_s > now_s:
                continue
            process.running, process.due_s, process.since_s = process.start(), None, now_s
            process.lives += 1
            threading.Thread(target=self._wait_for, args=(place, process.running), daemon=True).start()

    def _pause_s(self) -> float | None:
        due = [process.due_s for process in self._processes if process.due_s is not None]
        return max(0.0, min(due) - self._clock.monotonic_s()) if due and not self._is_stopping else None

    def _wait_for(self, place: int, running: subprocess.Popen[bytes]) -> None:
        self._events.put((place, running.wait()))

    def _stop(self) -> None:
        self._is_stopping = True
        for process in self._processes:
            if process.running is not None:
                process.running.terminate()

    def _has_ended(self, place: int, status: int, began_s: float) -> None:
        process = self._processes[place]
        process.running = None
        now_s = self._clock.monotonic_s()
        if status > 0 and not self._is_stopping and process.lives == 1 and now_s < began_s + _SETTLING_S:
            logger.error("worker process %d failed at its start with %d; all end", place, status)
            self._stop()
        if self._is_stopping:
            if status != -signal.SIGTERM:  # it had not begun to serve
                self._status = self._status or (status if status >= 0 else 128 - status)
            return
        process.failures = 1 if now_s > process.since_s + _RECOVERED_S else process.failures + 1
        pause = pause_s(process.failures)
        logger.warning("worker process %d has ended with %d; it starts anew in %.3g s", place, status, pause)
        process.due_s = now_s + pause


def starts(
    count: int, arguments: Sequence[str], worker_id: str, web_port: int, *, is_watching: bool
) -> list[Callable[[], subprocess.Popen[bytes]]]:
    """Return how each process is started: ``penstock worker`` with these arguments, a port and a name of its own.

    The first one watches, if any does. None outlives this process, and Ctrl-C in the terminal does not reach them.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []

    def start(place: int, own: frozenset[int]) -> Callable[[], subprocess.Popen[bytes]]:
        more = ["--web-port", str(web_port + place)]
        if worker_id:
            more += ["--id", f"{worker_id}-{place}"]
        if is_watching and place == 0:
            more += ["--watch"]
        environ: Mapping[str, str] = os.environ if place == 0 else {**os.environ, "PENSTOCK_WATCH__IN_WORKER": "false"}
        bound = ",".join(map(str, sorted(own)))
        command = [sys.executable, "-m", __name__, str(os.getpid()), bound, "worker", *arguments, *more]

        def popen() -> subprocess.Popen[bytes]:
            return subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603  # our own

        return popen

    return [start(place, own) for place, own in enumerate(shares(cores, count))]


def _settle_in(parent: int, cores: str) -> None:
    """End with the parent; stay on these cores, after which frameworks count their threads."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if cores:
            os.sched_setaffinity(0, map(int, cores.split(",")))
    if os.getppid() != parent:  # it has died before it could be asked for
        sys.exit(1)


def _main(parent: str, cores: str, *arguments: str) -> Any:
    from pipeline.commands import main

    _settle_in(int(parent), cores)
    return main(list(arguments), prog_name="penstock")


if __name__ == "__main__":
    _main(*sys.argv[1:])
