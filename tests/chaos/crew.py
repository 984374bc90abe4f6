"""The workers of a run: killed, stopped, restarted, more and fewer of them, and replaced where they may end."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable

from tests.acceptance.workers import Deployment, Worker, wait_for
from tests.chaos.accounting import Guarantee

READY_S = 120.0
_LOG_CHARACTERS = 4000
# What a worker says that stops because of its transactions: the broker has ended one, or has given its name to another.
_ENDED = "the worker stops: ConnectorError: kafka transactions: "


class Crew:
    """Real `penstock worker` processes. Each method returns when those that should serve do; one thread at a time.

    A worker that ends by itself is a failure. Exactly once, one that was fenced is none: it has to stop, and is
    replaced, as whatever keeps the processes of a deployment running would do.
    """

    def __init__(self, deployment: Deployment, guarantee: Guarantee) -> None:
        self._deployment = deployment
        self._may_be_fenced = guarantee is Guarantee.EXACTLY_ONCE
        self._workers: list[Worker] = []
        # Names of those that have not been ready yet: a process that has just begun can not end in good order.
        self._beginning: set[str] = set()
        self._stopped: Worker | None = None
        self._numbers = itertools.count()
        self.fenced = 0

    def scale(self, count: int) -> None:
        """Start workers, or end the youngest in good order, until there are so many."""
        self._wait_until_ready()
        while len(self._workers) > count:
            self._end(self._workers.pop())
        while len(self._workers) < count:
            self._workers.append(self._begin(f"w{next(self._numbers)}"))
        self._wait_until_ready()

    def kill(self, target: int) -> None:
        """End a worker by SIGKILL, and start another of its name."""
        place = self._place(target)
        self._workers[place].kill()
        self._replace(place)
        self._wait_until_ready()

    def restart(self, target: int) -> None:
        """End a worker in good order, and start another of its name."""
        place = self._place(target)
        self._end(self._workers[place])
        self._replace(place)
        self._wait_until_ready()

    def stop(self, target: int, pause: Callable[[], object]) -> None:
        """Stop a worker, as a machine that stands still does, for as long as ``pause`` takes; then let it go on."""
        self._stopped = self._workers[self._place(target)]
        self._beginning.add(self._stopped.name)
        self._stopped.signal(signal.SIGSTOP)
        pause()
        self.go_on()
        self._wait_until_ready()

    def go_on(self) -> None:
        """Let a worker that was stopped go on; harmless when none is."""
        if self._stopped is not None:
            self._stopped.signal(signal.SIGCONT)
            self._stopped = None

    def tend(self) -> None:
        """Replace who was fenced; fail, with its log, when one has ended for another reason."""
        for place, worker in enumerate(self._workers):
            status = worker.popen.poll()
            if status is not None:
                self._check_fenced(worker, status)
                self._replace(place)

    def logs(self) -> str:
        """Return the end of what each of them has printed, and how many batches stand between poll and delivery."""
        return "\n".join(
            f"--- {worker.name}\n{worker.log[-_LOG_CHARACTERS:]}\n{_in_flight(worker)}" for worker in self._workers
        )

    def _place(self, target: int) -> int:
        self._wait_until_ready()
        return target % len(self._workers)

    def _begin(self, name: str) -> Worker:
        self._beginning.add(name)
        return self._deployment.worker(name)

    def _replace(self, place: int) -> None:
        self._workers[place] = self._begin(self._workers[place].name)

    def _end(self, worker: Worker) -> None:
        worker.signal(signal.SIGTERM)
        status = worker.wait(READY_S)
        if status:
            self._check_fenced(worker, status)

    def _check_fenced(self, worker: Worker, status: int) -> None:
        log = worker.log
        assert self._may_be_fenced and _ENDED in log, (  # noqa: PT018  # one thing: whether it may end so
            f"{worker.name} ended by itself, or not in good order, with {status}:\n{log[-_LOG_CHARACTERS:]}"
        )
        self.fenced += 1

    def _wait_until_ready(self) -> None:
        """Tend until everyone who has begun, whoever was replaced meanwhile too, has been ready."""

        def ready() -> bool:
            self.tend()
            asked = [worker for worker in self._workers if worker.name in self._beginning]
            self._beginning -= {worker.name for worker in asked if worker.get("/ready")[0] == 200}
            return not self._beginning

        wait_for("workers ready", ready, timeout_s=READY_S, every_s=0.1)


def _in_flight(worker: Worker) -> str:
    lines = worker.get("/metrics")[1].splitlines()
    return "\n".join(line for line in lines if line.startswith("penstock_batches_in_flight"))
