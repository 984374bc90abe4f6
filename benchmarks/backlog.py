"""One measurement: a backlog of requests, a contender that empties it, and the account of what it answered."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

from benchmarks import accounting, figures, wire
from benchmarks.place import PARTITIONS, Place, Watch
from benchmarks.process import Contender, Cores, helper, paused
from benchmarks.workload import MLP

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.harness import Harness, Rival

Wait = Callable[[Sequence[Contender], Place], None]
LIMIT_S: Final = 300.0
CLOCK: Final = "the broker's timestamps of the results"
REHEARSAL: Final = 20_000
# Whoever commits nothing is done when nothing more has come for so long.
_QUIET_S: Final = 20.0


@dataclass(frozen=True)
class Backlog:
    """What is asked: ``count`` requests, the first eleventh not counted.

    ``expected``: the file with the answers, for a workload other than the MLP; ``streams``: among how many streams
    requests take turns, 0 when they name none; ``is_unread``: answers are accounted by their keys, and not looked at.
    """

    count: int
    workload: str = MLP.name
    expected: Path | None = None
    wire: str = wire.AVRO
    streams: int = 0
    partitions: int = PARTITIONS
    is_unread: bool = False

    @property
    def warm_up(self) -> int:
        """How many results come before those that are counted."""
        return self.count // 11

    def produce(self, place: Place) -> int:
        """Fill the request topic and return the size of a request in bytes."""
        options = ("--workload", self.workload, "--wire", self.wire, "--streams", self.streams)
        made = helper("benchmarks.produce", place.bootstrap, place.requests, self.count, *options)
        return int(made["request_bytes"])

    def collect(self, place: Place) -> dict[str, Any]:
        """Return what ``benchmarks.collect`` prints."""
        topics = (place.bootstrap, place.requests, place.results)
        expected = ("--expected", self.expected) if self.expected else ()
        unread = ("--unread",) if self.is_unread else ()
        options = ("--workload", self.workload, "--wire", self.wire, *expected, *unread)
        made: dict[str, Any] = helper("benchmarks.collect", *topics, self.warm_up, *options)
        return made


@dataclass(frozen=True)
class Measured:
    """One contender's round."""

    records_per_s: float
    cpu_us: float
    peak_rss_mib: float
    account: accounting.Account
    request_bytes: int
    result_bytes: int


def measure(harness: Harness, rival: Rival, backlog: Backlog) -> Measured:
    """Return how fast ``rival`` answers what lies there before it starts; raises BenchmarkError."""
    with harness.place(rival.NAME, backlog.partitions) as place:
        request_bytes = backlog.produce(place)
        with harness.running(rival, place) as contender:
            ticks = watch_commits([contender], place, backlog.count)
            peak_mib = contender.peak_rss_mib
        return _measured(backlog, place, ticks, peak_mib, request_bytes, place.uncommitted())


def rehearse(harness: Harness, rival: Rival, requests: int) -> None:
    """Have ``rival`` empty a backlog that is not counted, for the broker is cold; raises BenchmarkError."""
    measure(harness, rival, Backlog(min(REHEARSAL, requests)))


def measure_up(
    harness: Harness, rivals: Sequence[Rival], backlog: Backlog, wait: Wait, cores: Sequence[Cores] = ()
) -> Measured:
    """Return how fast one group answers what lies there when ``wait`` has returned; raises BenchmarkError.

    It stands still while the load generator fills the topic: it never waits for a request, nor shares its cores then.
    ``cores``: whose core each of ``rivals`` gets, instead of the harness's. Memory is that of all together.
    """
    with harness.place(rivals[0].NAME, backlog.partitions) as place:
        with contextlib.ExitStack() as running:
            contenders = [
                running.enter_context(harness.running(rival, _own_folder(place, number), core))
                for number, (rival, core) in enumerate(itertools.zip_longest(rivals, cores))
            ]
            wait(contenders, place)
            with paused(contenders):
                request_bytes = backlog.produce(place)
            ticks = watch_commits(contenders, place, backlog.count)
            peak_mib = sum(contender.peak_rss_mib for contender in contenders)
        return _measured(backlog, place, ticks, peak_mib, request_bytes, place.uncommitted())


def measure_groupless(harness: Harness, rival: Rival, backlog: Backlog) -> Measured:
    """Return how fast ``rival`` answers, who reads what comes after its start and commits nothing; see ``measure``.

    It is up, and all its partitions are read, before the load generator starts. ``uncommitted`` means nothing here: 0.
    """
    with harness.place(rival.NAME, backlog.partitions) as place:
        with harness.running(rival, place) as contender:
            helper("benchmarks.probe", place.bootstrap, place.requests, place.results, "--wire", backlog.wire)
            watch = Watch(place, place.results)
            before = watch.end()
            request_bytes = backlog.produce(place)
            ticks = _watch_results(contender, watch, before, backlog.count)
            peak_mib = contender.peak_rss_mib
        return _measured(backlog, place, ticks, peak_mib, request_bytes, 0)


def watch_commits(contenders: Sequence[Contender], place: Place, count: int) -> list[tuple[int, float]]:
    """Return (results, CPU seconds of all together) over time, up to the last result.

    The last request is committed then. By results, for some commit once a second or less. Markers of transactions count
    as results: a few in a thousand.
    """
    ticks: list[tuple[int, float]] = [(0, 0.0)]
    requests, results = Watch(place, place.requests), Watch(place, place.results)

    def is_done() -> bool:
        for contender in contenders:
            contender.check()
        if ticks[-1][0] < count:
            ticks.append((results.end(), sum(contender.cpu_s for contender in contenders)))
        return requests.committed() >= count

    contenders[0].wait(is_done, f"answering {count} requests", LIMIT_S)
    return ticks


def _watch_results(contender: Contender, watch: Watch, before: int, count: int) -> list[tuple[int, float]]:
    """Return (results, CPU seconds) over time, up to the last result, or until nothing more comes."""
    ticks: list[tuple[int, float]] = [(0, contender.cpu_s)]
    moved_s = time.monotonic()

    def is_done() -> bool:
        nonlocal moved_s
        done = watch.end() - before
        if done > ticks[-1][0]:
            moved_s = time.monotonic()
        ticks.append((done, contender.cpu_s))
        return done >= count or time.monotonic() > moved_s + _QUIET_S

    contender.wait(is_done, f"answering {count} requests", LIMIT_S)
    return ticks


def account(place: Place) -> accounting.Account:
    """Return the account of all requests of a place whose contender has ended in good order."""
    made: accounting.Account = Backlog(1).collect(place)["account"]
    made["uncommitted"] = place.uncommitted()
    return made


def _own_folder(place: Place, number: int) -> Place:
    """Return the place with a folder for one of several processes."""
    folder = place.folder / str(number)
    folder.mkdir()
    return replace(place, folder=folder)


def _measured(
    backlog: Backlog,
    place: Place,
    ticks: list[tuple[int, float]],
    peak_mib: float,
    request_bytes: int,
    uncommitted: int,
) -> Measured:
    collected = backlog.collect(place)
    account: accounting.Account = collected["account"]
    account["uncommitted"] = uncommitted
    return Measured(
        records_per_s=collected["records_per_s"],
        cpu_us=figures.cpu_us_per_record(ticks, backlog.warm_up) or 0.0,
        peak_rss_mib=peak_mib,
        account=account,
        request_bytes=request_bytes,
        result_bytes=collected["result_bytes"],
    )
