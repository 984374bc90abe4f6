"""The workers of a run: killed, stopped, restarted, more and fewer of them."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable

from tests.acceptance.workers import Deployment, Worker, wait_for

READY_S = 120.0
_LOG_CHARACTERS = 4000


class Crew:
    """Real `penstock worker` processes. Each method returns when those that should serve do; one thread at a time."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment
        self._workers: list[Worker] = []
        self._stopped: Worker | None = None
        self._numbers = itertools.count()

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self._workers)

    def scale(self, count: int) -> None:
        """Start workers, or end the youngest in good order, until there are so many."""
        while len(self._workers) > count:
            self._end(self._workers.pop())
        started = [self._start(f"w{next(self._numbers)}") for _ in range(count - len(self._workers))]
        self._workers += started
        for worker in started:
            self._wait_until_ready(worker)

    def kill(self, target: int) -> None:
        """End a worker by SIGKILL, and start another of its name."""
        place = self._place(target)
        self._workers[place].kill()
        self._replace(place)

    def restart(self, target: int) -> None:
        """End a worker in good order, and start another of its name."""
        place = self._place(target)
        self._end(self._workers[place])
        self._replace(place)

    def stop(self, target: int, pause: Callable[[], object]) -> None:
        """Stop a worker, as a machine that stands still does, for as long as ``pause`` takes; then let it go on."""
        self._stopped = self._workers[self._place(target)]
        self._stopped.signal(signal.SIGSTOP)
        pause()
        self.go_on()
        self._wait_until_ready(self._workers[self._place(target)])

    def go_on(self) -> None:
        """Let a worker that was stopped go on; harmless when none is."""
        if self._stopped is not None:
            self._stopped.signal(signal.SIGCONT)
            self._stopped = None

    def check(self) -> None:
        """Fail when one has ended that nobody has ended, with the end of what it has printed."""
        for worker in self._workers:
            status = worker.popen.poll()
            assert status is None, f"{worker.name} ended by itself with {status}:\n{worker.log[-_LOG_CHARACTERS:]}"

    def logs(self) -> str:
        """Return the end of what each of them has printed, and how many batches stand between poll and delivery."""
        return "\n".join(
            f"--- {worker.name}\n{worker.log[-_LOG_CHARACTERS:]}\n{_in_flight(worker)}" for worker in self._workers
        )

    def _place(self, target: int) -> int:
        self.check()
        return target % len(self._workers)

    def _start(self, name: str) -> Worker:
        return self._deployment.worker(name)

    def _replace(self, place: int) -> None:
        worker = self._workers[place] = self._start(self._workers[place].name)
        self._wait_until_ready(worker)

    def _end(self, worker: Worker) -> None:
        worker.signal(signal.SIGTERM)
        status = worker.wait(READY_S)
        assert status == 0, f"{worker.name} ended with {status} on SIGTERM:\n{worker.log[-_LOG_CHARACTERS:]}"

    def _wait_until_ready(self, worker: Worker) -> None:
        def ready() -> bool:
            self.check()
            return worker.get("/ready")[0] == 200

        wait_for(f"{worker.name} ready", ready, READY_S, every_s=0.1)


def _in_flight(worker: Worker) -> str:
    lines = worker.get("/metrics")[1].splitlines()
    return "\n".join(line for line in lines if line.startswith("penstock_batches_in_flight"))
