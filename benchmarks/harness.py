"""The harness: one broker, contenders in turn, each on topics of its own; what every case is made of."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar

from benchmarks import model
from benchmarks.place import PARTITIONS, Place
from benchmarks.process import Cores, running
from pipeline.local.kafka import LocalKafka

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.process import Contender

Measured = TypeVar("Measured")


class Rival(Protocol):
    """A module of benchmarks.contenders, or what one of them makes for several settings."""

    @property
    def NAME(self) -> str:  # noqa: N802  # a constant of its module
        """What the report calls it."""
        ...

    @property
    def DESCRIPTION(self) -> str:  # noqa: N802  # likewise
        """What it is."""
        ...

    def command(self, place: Place) -> list[str | Path]:
        """Return the command that starts it, configured for the place."""
        ...


class Named(Protocol):
    """What is measured in turn."""

    @property
    def NAME(self) -> str:  # noqa: N802  # see Rival
        """What the report calls it."""
        ...


AnyRival = TypeVar("AnyRival", bound=Named)


class Harness:
    """A broker, a model and as many places as wanted; ``open_harness`` makes one. One measurement at a time.

    The broker starts with the first place: a case that needs none has none.
    """

    def __init__(self, start: Callable[[], str], broker: str, folder: Path, cores: Cores) -> None:
        self.broker, self.cores = broker, cores
        self.models = folder / "models" / model.NAME
        self._start, self._folder = start, folder
        self._numbers = itertools.count(1)
        model.write(self.models)

    @functools.cached_property
    def _bootstrap(self) -> str:
        return self._start()

    @contextlib.contextmanager
    def place(self, name: str, partitions: int = PARTITIONS) -> Iterator[Place]:
        """Make a place with topics; they are deleted at the end."""
        unique = f"bench-{os.getpid()}-{int(time.time())}-{next(self._numbers)}-{name}"
        folder = self._folder / unique
        folder.mkdir()
        place = Place(self._bootstrap, folder, self.models, unique, partitions)
        place.create_topics()
        try:
            yield place
        finally:
            place.delete_topics()

    def running(
        self, rival: Rival, place: Place, cores: Cores | None = None
    ) -> contextlib.AbstractContextManager[Contender]:
        """Return a contender that runs as long as the ``with`` block, as ``benchmarks.process.running``.

        ``cores``: whose core it gets, instead of the harness's.
        """
        return running(rival.command(place), place.folder / "contender.log", cores or self.cores)


@contextlib.contextmanager
def open_harness(bootstrap: str | None, *, is_pinned: bool) -> Iterator[Harness]:
    """Return a harness on a broker of its own, or on the one at ``bootstrap``, whose clock then counts."""
    cores = Cores.split(is_split=is_pinned)
    cores.bind_this_process()
    folder = Path(tempfile.mkdtemp(prefix="penstock-bench-"))
    try:
        with contextlib.ExitStack() as stack:
            if bootstrap:
                yield Harness(lambda: bootstrap, f"at {bootstrap}", folder, cores)
            else:
                start = lambda: stack.enter_context(LocalKafka()).bootstrap  # noqa: E731  # one line, used once
                yield Harness(start, "Kafka 4.1, one KRaft node on this machine", folder, cores)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def alternate(
    rivals: Sequence[AnyRival],
    rounds: int,
    measure: Callable[[AnyRival], Measured],
    show: Callable[[AnyRival, Measured], str],
) -> dict[str, list[Measured]]:
    """Measure A B A B ... and return the rounds of each by name; a line to stderr for every one."""
    measured: dict[str, list[Measured]] = {rival.NAME: [] for rival in rivals}
    for number in range(1, rounds + 1):
        for rival in rivals:
            one = measure(rival)
            measured[rival.NAME].append(one)
            print(f"  round {number}/{rounds}  {rival.NAME:<14} {show(rival, one)}", file=sys.stderr, flush=True)
    return measured
