"""The processes of one version: who is free, and how one that has died is replaced."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final

from pipeline.clock import Clock
from pipeline.errors import PenstockError, PredictTimedOut, ServableDied
from pipeline.isolation.messages import Load, Loaded
from pipeline.isolation.process import REPLACED, Process
from pipeline.isolation.spawner import Spawner

logger = logging.getLogger(__name__)

# So many failures in a row are a loop: from then on calls do not wait for the next try, and the tries become rare.
LOOP: Final = 3
_FIRST_PAUSE_S: Final = 0.25
_LONGEST_PAUSE_S: Final = 30.0


def pause_s(failures: int) -> float:
    """Return how long to wait before the next start after so many failures in a row: not at all, then ever longer."""
    return 0.0 if failures < LOOP else min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(failures - LOOP, 16))


class Crew:
    """``size`` processes with the same version. Thread-safe.

    One that ends is replaced at once, in the background. A failure is a start that fails, or an end that no call has
    brought about; only an answer ends a row of them.
    """

    def __init__(self, name: str, size: int, load: Load, spawner: Spawner, clock: Clock) -> None:
        self._name = name
        self._size = size
        self._load = load
        self._spawner = spawner
        self._clock = clock
        self._changed = threading.Condition()  # with a lock that its holder may take again
        self._starting: set[Process] = set()
        self._all: set[Process] = set()
        self._idle: list[Process] = []
        self._failures = 0
        self._reason = ""
        self._retry_at_s = 0.0
        self._closed = threading.Event()

    def start(self) -> Loaded:
        """Start and load all processes, the first one alone: most versions that can not be loaded end there.

        Blocks for as long as the loads take. Raises what the first load that fails raises; then none is left.
        """
        self._spawner.open()
        try:
            loaded = self._start()
            if self._size > 1:
                with ThreadPoolExecutor(self._size - 1, "penstock-crew") as pool:
                    for _ in pool.map(lambda _: self._start(), range(self._size - 1)):
                        pass
        except BaseException:
            with suppress(Exception):  # the reason why the version failed is the one to show
                self.close()
            raise
        return loaded

    def take(self, timeout_s: float) -> Process:
        """Return a process that nobody uses; the caller gives it back, releases it, or says ``ended``.

        Waits for one. Raises PredictTimedOut where all have been busy for so long, ServableDied where they have not
        come back in that time, or keep dying.
        """
        deadline_s = self._clock.monotonic_s() + timeout_s
        with self._changed:
            while True:
                found = self._pop_idle()
                if found is not None:
                    return found
                now_s = self._clock.monotonic_s()
                self._check_open()
                if not self._all and self._failures >= LOOP and now_s < self._retry_at_s:
                    ended = f"has failed {self._failures} times in a row ({self._reason})"
                    raise ServableDied(self._name, ended, f"the next try is in {self._retry_at_s - now_s:.1f} s")
                if now_s >= deadline_s:
                    raise self._timed_out(timeout_s)
                self._changed.wait(deadline_s - now_s)

    def take_idle(self, most: int) -> list[Process]:
        """Return up to ``most`` further processes that nobody uses just now; does not wait."""
        with self._changed:
            found = [self._pop_idle() for _ in range(min(most, len(self._idle)))]
            return [process for process in found if process is not None]

    def give_back(self, process: Process) -> None:
        """Say that a call has been answered, by a result or by an error of the servable's own."""
        with self._changed:
            self._failures = 0
            self.release(process)

    def release(self, process: Process) -> None:
        """Say that a process, which the caller had taken, was not asked anything."""
        with self._changed:
            self._idle.append(process)
            self._changed.notify_all()

    def ended(self, process: Process) -> None:
        """Say that a process, which the caller had taken, is gone; it is replaced."""
        with self._changed:
            self._drop(process, is_failure=False)

    def resident_bytes(self) -> int | None:
        """Return what all processes have resident now, None where the system does not say."""
        with self._changed:
            sizes = [process.resident_bytes for process in self._all]
        return None if None in sizes else sum(size or 0 for size in sizes)

    def pids(self) -> list[int]:
        """Return the ids of the processes that are loaded."""
        with self._changed:
            return sorted(process.pid for process in self._all)

    def close(self) -> None:
        """Unload and end all processes; no call is running. Raises what the first unload that fails raises."""
        with self._changed:
            self._closed.set()
            everyone, self._all, self._idle = self._all, set(), []
            starting, self._starting = self._starting, set()
            self._changed.notify_all()
        for process in starting:
            process.kill()
        errors: list[Exception] = []
        for process in everyone:
            try:
                process.unload()
            except Exception as error:  # noqa: BLE001  # whatever a model's code raised; the others are to end as well
                errors.append(error)
        self._spawner.close()
        if errors:
            raise errors[0]

    def _start(self) -> Loaded:
        process = Process(self._name, self._spawner, self._on_end)
        try:
            with self._changed:
                self._check_open()
                self._starting.add(process)
            loaded = process.load(self._load)
            with self._changed:
                self._check_open()
                self._all.add(process)
                self._idle.append(process)
                self._changed.notify_all()
        except BaseException:
            process.kill()
            raise
        finally:
            with self._changed:
                self._starting.discard(process)
        return loaded

    def _check_open(self) -> None:
        if self._closed.is_set():
            raise ServableDied(self._name, "has been ended", "the version is unloaded")

    def _pop_idle(self) -> Process | None:
        while self._idle:
            process = self._idle.pop()
            if process.is_alive:
                return process
            self._drop(process, is_failure=True)
        return None

    def _on_end(self, process: Process) -> None:
        """Take note of an end, on the thread that has watched it; where a call was running, its caller says more."""
        with self._changed:
            self._drop(process, is_failure=process in self._idle)

    def _drop(self, process: Process, *, is_failure: bool) -> None:
        if process not in self._all:
            return
        self._all.discard(process)
        if process in self._idle:
            self._idle.remove(process)
        if is_failure:  # nobody was using it who would let go of it
            process.kill()
            self._fail("it ended though nobody had asked it anything")
        threading.Thread(target=self._replace, name=f"penstock-replace-{process.pid}", daemon=True).start()
        logger.warning("%s: process %d is gone (%s), and is being replaced", self._name, process.pid, process.end)

    def _replace(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(self._closed.is_set, pause_s(self._failures))
                if self._closed.is_set():
                    return
            try:
                self._start()
            except Exception as error:  # noqa: BLE001  # whatever it is, it is tried again
                with self._changed:
                    if self._closed.is_set():
                        return
                    self._fail(str(error))
                logger.warning("%s: a process could not be replaced: %s", self._name, error)
            else:
                return

    def _fail(self, reason: str) -> None:
        self._failures += 1
        self._reason = reason
        self._retry_at_s = self._clock.monotonic_s() + pause_s(self._failures)
        self._changed.notify_all()

    def _timed_out(self, timeout_s: float) -> PenstockError:
        if self._all:
            return PredictTimedOut(self._name, timeout_s, "as all its processes were busy")
        why = f" ({self._reason})" if self._reason else ""
        return ServableDied(self._name, f"has not come back within {timeout_s:g} s{why}", REPLACED)
