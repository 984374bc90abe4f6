"""Streams: how fast one worker answers when requests take turns among 10, 100 and 1,000 streams, against one stream.

Every stream has the small MLP, loaded for it alone. All are available before the first request comes. The same by hand,
with 1,000 streams and with one, tells what of the difference a loop has that does nothing else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from benchmarks import backlog, machine, model, report
from benchmarks.backlog import Backlog
from benchmarks.contenders import penstock
from benchmarks.contenders.hand_written_streams import ByHand
from benchmarks.contenders.streaming import Streaming
from benchmarks.figures import each
from benchmarks.harness import alternate
from benchmarks.place import PARTITIONS
from benchmarks.states import following

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.backlog import Measured
    from benchmarks.harness import Harness
    from benchmarks.place import Place
    from benchmarks.process import Contender
    from pipeline.records import ServableState

NAME: Final = "streams"
REQUESTS: Final = 100_000
ROUNDS: Final = 3
TARGET: Final = 0.9
_RIVALS: Final = (Streaming(1000), Streaming(1), Streaming(10), Streaming(100))
_BY_HAND: Final = (ByHand(1000), ByHand(1))
_ALL: Final[tuple[Streaming | ByHand, ...]] = (*_RIVALS, *_BY_HAND)
_READY_S: Final = 600.0


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Measure all rounds and return the report; raises BenchmarkError."""
    backlog.rehearse(harness, penstock, requests)
    measured = alternate(_ALL, rounds, lambda rival: _measure(harness, rival, requests), _show)
    one = Streaming(1).NAME
    return report.make(
        case=NAME,
        measure="answers of one worker; the ratio is 1,000 streams to one",
        unit="records/s",
        target=TARGET,
        better="higher",
        rounds=each(measured, lambda one: one.records_per_s),
        versus=[
            *(report.Versus(Streaming(streams).NAME, one) for streams in (10, 100)),
            *(report.Versus(Streaming(by_hand.streams).NAME, by_hand.NAME) for by_hand in _BY_HAND),
            report.Versus(_BY_HAND[0].NAME, _BY_HAND[1].NAME),
        ],
        others={
            "CPU microseconds a record": each(measured, lambda one: one.cpu_us),
            "peak memory, MiB": each(measured, lambda one: one.peak_rss_mib),
        },
        descriptions={rival.NAME: rival.DESCRIPTION for rival in _ALL},
        accounts=each(measured, lambda one: one.account),
        settings={
            "requests": requests,
            "warm_up_requests": requests // 10,
            "partitions": PARTITIONS,
            "openvino": model.OPENVINO,
            "clock": backlog.CLOCK,
        },
        machine=machine.describe(harness.broker, str(harness.cores)),
    )


def _measure(harness: Harness, rival: Streaming | ByHand, requests: int) -> Measured:
    asked = Backlog(requests + requests // 10, streams=rival.streams)
    if isinstance(rival, ByHand):  # it reads nothing before it has loaded every model
        return backlog.measure(harness, rival, asked)

    def wait(contenders: Sequence[Contender], place: Place) -> None:
        with following(place) as states:
            contenders[0].wait(lambda: _available(states()) == rival.streams, "loading every stream", _READY_S)

    return backlog.measure_up(harness, [rival], asked, wait)


def _available(states: Iterable[ServableState]) -> int:
    return sum(str(state.state) == "AVAILABLE" for state in states)


def _show(_: object, one: Measured) -> str:
    return f"{one.records_per_s:>9,.0f} records/s  {one.cpu_us:>6.1f} CPU us a record  {one.peak_rss_mib:,.0f} MiB"
