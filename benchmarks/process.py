"""The processes of a measurement: a contender that runs until it is stopped, and helpers that run to their end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.local.child import Child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_ROOT: Final = Path(__file__).parent.parent
_POLL_S: Final = 0.1
_STOP_TIMEOUT_S: Final = 40.0
_TAIL_LINES: Final = 25
# No library may use a second thread behind the settings' back. Whether the kernel has huge pages for numpy is luck, ten
# times as long without. The checkout is compiled once, as pip compiles what it installs: "" is as if not set.
_ENVIRONMENT: Final = {
    "NUMPY_MADVISE_HUGEPAGE": "0",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "",
    "PYTHONPATH": str(_ROOT),
}


class BenchmarkError(Exception):
    """A measurement could not be made, or what it measured does not count; the message says why."""


@dataclass(frozen=True)
class Cores:
    """Who runs where: the contender on one core, broker and load on the others; empty sets bind nobody."""

    contender: frozenset[int]
    others: frozenset[int]

    @classmethod
    def split(cls, *, is_split: bool) -> Cores:
        """Return the split of this machine's cores, or no split."""
        if not is_split or not hasattr(os, "sched_getaffinity"):
            return cls(frozenset(), frozenset())
        available = sorted(os.sched_getaffinity(0))
        if len(available) < 2:
            return cls(frozenset(), frozenset())
        return cls(frozenset(available[:1]), frozenset(available[1:]))

    def __str__(self) -> str:
        if not self.contender:
            return "nobody"
        return f"contender to core {_list(self.contender)}, broker and load to {_list(self.others)}"

    def bind_this_process(self) -> None:
        """Bind this process to the cores of the others; what it starts later inherits that."""
        if self.others:
            os.sched_setaffinity(0, self.others)


class Contender:
    """A running contender; ``running`` starts it. It never outlives this process."""

    def __init__(self, argv: Sequence[str | Path], log_path: Path, cores: Cores) -> None:
        self._argv, self._log_path = argv, log_path
        os.environ.update(_ENVIRONMENT)
        self.started_s: Final = time.time()
        self._child = Child(argv, log_path)
        if cores.contender:  # before the interpreter has started any thread: each inherits it
            os.sched_setaffinity(self._child.pid, cores.contender)

    @property
    def cpu_s(self) -> float:
        """CPU seconds used so far, user and system, by all its threads; 0 where the system does not tell."""
        stat = Path(f"/proc/{self._child.pid}/stat")
        if not stat.exists():
            return 0.0
        fields = stat.read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def rss_mib(self) -> float:
        """Resident memory now, in MiB; 0 where the system does not tell."""
        return self._status_mib("VmRSS:")

    @property
    def peak_rss_mib(self) -> float:
        """The most that it has been, in MiB; likewise."""
        return self._status_mib("VmHWM:")

    @property
    def state(self) -> str:
        """Whether it runs, and the end of its log: for the message of an error."""
        code = self._child.exit_code
        now = "still running" if code is None else f"ended with status {code}"
        tail = self._log_path.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join([f"{self}: {now}; the end of its log:", *(tail or ["(nothing)"])])

    def wait(self, is_done: Callable[[], bool], what: str, timeout_s: float) -> None:
        """Return when ``is_done``; raises BenchmarkError when it dies or is too slow."""
        deadline_s = time.monotonic() + timeout_s
        while not is_done():
            self.check()
            if time.monotonic() > deadline_s:
                raise BenchmarkError(f"{what} took more than {timeout_s:g} s")
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Raise BenchmarkError when it has ended."""
        if self._child.exit_code is not None:
            raise BenchmarkError("it ended before it was asked to")

    def stop(self) -> None:
        """Ask it to end; raises BenchmarkError when it has ended before, or does not do so in good order."""
        self.check()
        self._child.stop(_STOP_TIMEOUT_S)
        if self._child.exit_code != 0:
            raise BenchmarkError("it did not end in good order after SIGTERM")

    def kill(self) -> None:
        """End it, whatever it is doing."""
        self._child.kill()

    def pause(self) -> None:
        """Let it stand still, with everything it has started, until ``resume``; raises BenchmarkError as ``check``."""
        self.check()
        os.killpg(self._child.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGCONT)

    def __str__(self) -> str:
        return " ".join(str(part) for part in self._argv[:3])

    def _status_mib(self, field: str) -> float:
        status = Path(f"/proc/{self._child.pid}/status")
        lines = status.read_text().splitlines() if status.exists() else []
        return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(field)), 0.0)


def helper(module: str, *arguments: object, timeout_s: float = 600.0, python: str | Path = sys.executable) -> Any:
    """Run ``python -m module arguments`` to its end and return the JSON that it printed; raises BenchmarkError."""
    argv = [python, "-m", module, *map(str, arguments)]
    environment = {**os.environ, **_ENVIRONMENT}
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, check=False, env=environment, cwd=_ROOT, timeout=timeout_s
        )
    except subprocess.TimeoutExpired as error:
        raise BenchmarkError(f"{module} took more than {timeout_s:g} s") from error
    if done.returncode != 0:
        raise BenchmarkError(f"{module} ended with status {done.returncode}\n{done.stderr[-4000:]}")
    return json.loads(done.stdout)


@contextlib.contextmanager
def running(argv: Sequence[str | Path], log_path: Path, cores: Cores) -> Iterator[Contender]:
    """Start a contender; at the end it is stopped in good order, or killed after an exception.

    A BenchmarkError, whose ever it is, leaves here with the contender's state and the end of its log.
    """
    contender = Contender(argv, log_path, cores)
    try:
        yield contender
        contender.stop()
    except BenchmarkError as error:
        raise BenchmarkError(f"{error}\n{contender.state}") from error
    finally:
        contender.kill()


@contextlib.contextmanager
def paused(contenders: Sequence[Contender]) -> Iterator[None]:
    """Let contenders stand still until the end of the ``with`` block."""
    try:
        for contender in contenders:
            contender.pause()
        yield
    finally:
        for contender in contenders:
            contender.resume()


def background(module: str, *arguments: object, log_path: Path) -> contextlib.AbstractContextManager[Contender]:
    """Run ``python -m module arguments`` on the cores of this process until the end of the ``with`` block."""
    return running([sys.executable, "-m", module, *map(str, arguments)], log_path, Cores(frozenset(), frozenset()))


def _list(cores: frozenset[int]) -> str:
    return ",".join(map(str, sorted(cores)))
