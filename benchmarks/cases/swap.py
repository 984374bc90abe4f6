"""Swap: what a heavy version that loads and warms up does to the p99 of a steady load, against the p99 just before.

One worker answers an open-loop load all the time. A heavy version is dropped into the directory of a stream that nobody
asks, and then one into that of the stream which answers. Latencies are the client's, from the moment a request was due:
a worker that stands still can not hold that clock up. The same at equal priority shows what giving way does.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from benchmarks import accounting, backlog, figures, heavy, machine, model, report
from benchmarks.avro_records import AvroRecord
from benchmarks.contenders.swapping import OTHER, Swapping, base_path
from benchmarks.figures import each
from benchmarks.harness import alternate
from benchmarks.place import PARTITIONS, Watch
from benchmarks.process import BenchmarkError, background
from benchmarks.reading import read
from benchmarks.states import following
from benchmarks.swaps import Seen, Swap, Window, by_version, going_on, latency, seen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from benchmarks.harness import Harness
    from benchmarks.place import Place
    from benchmarks.process import Contender
    from pipeline.records import ServableState

NAME: Final = "swap"
REQUESTS: Final = 1000
ROUNDS: Final = 3
TARGET: Final = 2.0
RATE: Final = 250.0
_WARM_UPS: Final = 50
_VERSION: Final = 2
_LIMIT_S: Final = 120.0
_REST_S: Final = 1.0
_AFTER_S: Final = 2.0
GIVING_WAY: Final = Swapping("penstock", "penstock worker --watch, default settings", {})
EQUAL: Final = Swapping("equal", "the same with worker.load_niceness 0", {"load_niceness": 0})
_RIVALS: Final = (GIVING_WAY, EQUAL)
_SWAPS: Final = {OTHER: "another stream", model.NAME: "same stream"}


@dataclass(frozen=True)
class Measured:
    """One contender's round: the swap of each stream."""

    swaps: Mapping[str, Swap]
    account: accounting.Account


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Measure all rounds, with ``requests`` before each swap, and return the report; raises BenchmarkError."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder:
        version = Path(folder, str(_VERSION))
        heavy.write(version, _WARM_UPS)
        measured = alternate(_RIVALS, rounds, lambda rival: _measure(harness, rival, version, requests), _show)
        size_bytes = sum(file.stat().st_size for file in version.iterdir())
    swaps = dict(_by_figure(measured))
    ratios = each(swaps, lambda swap: swap.ratio)
    ours = (figures.spread(ratios[_name(GIVING_WAY, stream)])["median"] for stream in _SWAPS)
    return report.make(
        case=NAME,
        measure="p99 while a heavy version loads and warms up / p99 before; the ratio is the worse median of ours",
        unit="ratio",
        target=TARGET,
        better="lower",
        ratio=max(ours),
        rounds=ratios,
        others={measure: each(swaps, figure) for measure, figure in _OTHERS.items()},
        descriptions={rival.NAME: rival.DESCRIPTION for rival in _RIVALS},
        accounts=each(measured, lambda one: one.account),
        settings={
            "requests_per_s": RATE,
            "requests_before_a_swap": requests,
            "partitions": PARTITIONS,
            "model": model.DESCRIPTION,
            "heavy_version": f"the same beside a ResNet-50 of random weights, {size_bytes / 1e6:.0f} MB",
            "warm_up_inferences": _WARM_UPS,
            "openvino": model.OPENVINO,
            "clock": "the client's, from the moment a request was due",
        },
        machine=machine.describe(harness.broker, str(harness.cores)),
    )


_OTHERS: Final[dict[str, Callable[[Swap], float]]] = {
    "p50 before, ms": lambda swap: swap.before.p50_ms,
    "p50 during, ms": lambda swap: swap.during.p50_ms,
    "p99 before, ms": lambda swap: swap.before.p99_ms,
    "p99 while the version is found and digested, ms": lambda swap: swap.finding.p99_ms,
    "p99 during, ms": lambda swap: swap.during.p99_ms,
    "p99 after, ms": lambda swap: swap.after.p99_ms,
    "highest before, ms": lambda swap: swap.before.highest_ms,
    "highest during, ms": lambda swap: swap.during.highest_ms,
    "from aspiration to available, the old version gone, s": lambda swap: swap.duration_s,
    "requests during": lambda swap: swap.during.requests,
    "requests that version 1 answered": lambda swap: swap.answered_by.get(1, 0),
    "requests that version 2 answered": lambda swap: swap.answered_by.get(2, 0),
}


def _name(rival: Swapping, stream: str) -> str:
    return _SWAPS[stream] if rival is GIVING_WAY else f"{_SWAPS[stream]}, {rival.NAME}"


def _by_figure(measured: Mapping[str, list[Measured]]) -> Iterator[tuple[str, list[Swap]]]:
    for rival in _RIVALS:
        for stream in _SWAPS:
            yield _name(rival, stream), [one.swaps[stream] for one in measured[rival.NAME]]


def _show(_: object, one: Measured) -> str:
    return "  ".join(
        f"{_SWAPS[stream]}: p99 {swap.before.p99_ms:.1f} -> {swap.during.p99_ms:.1f} ms ({swap.ratio:.2f} x) "
        f"in {swap.duration_s:.1f} s"
        for stream, swap in one.swaps.items()
    )


def _measure(harness: Harness, rival: Swapping, version: Path, requests: int) -> Measured:
    with harness.place(rival.NAME) as place:
        shutil.copytree(place.models, base_path(place, model.NAME))
        base_path(place, OTHER).mkdir()
        load_path = place.folder / "load.json"
        with harness.running(rival, place) as contender:
            arguments = (place.bootstrap, place.requests, place.results, RATE, load_path)
            with background("benchmarks.steady", *arguments, log_path=place.folder / "load.log"):
                _wait_for_answers(contender, place, int(2 * RATE))
                before = {stream: _swap(contender, place, stream, version, requests / RATE) for stream in _SWAPS}
        record = AvroRecord("ServableState")
        values = [message.value() for message in read(place.bootstrap, place.states)]
        states = [record.decode(value) for value in values if record.is_of(value)]
        answered = seen(json.loads(load_path.read_text()))
        swaps = {stream: _judge(answered, before[stream], going_on(states, stream, _VERSION)) for stream in _SWAPS}
        account = backlog.account(place)
    if not swaps[model.NAME].answered_by.get(_VERSION):
        raise BenchmarkError(f"no request was answered by version {_VERSION}")
    return Measured(swaps, account)


def _wait_for_answers(contender: Contender, place: Place, count: int) -> None:
    watch = Watch(place, place.requests)
    contender.wait(lambda: watch.committed() >= count, f"answering {count} requests", _LIMIT_S)


def _swap(contender: Contender, place: Place, stream: str, version: Path, before_s: float) -> Window:
    """Drop the version, wait until it has taken over and a little longer; return the stretch before the drop."""
    hidden = base_path(place, stream) / f".{_VERSION}.tmp"
    shutil.copytree(version, hidden)
    time.sleep(_REST_S)  # the disk has written what was copied
    start_s = time.time()
    time.sleep(before_s)
    before = Window(start_s, time.time())
    hidden.rename(base_path(place, stream) / str(_VERSION))
    with following(place) as states:
        contender.wait(lambda: _is_settled(states(), stream), f"the swap of {stream}", _LIMIT_S)
    time.sleep(_AFTER_S)
    return before


def _is_settled(states: Iterable[ServableState], stream: str) -> bool:
    by_version = {state.version: str(state.state) for state in states if state.stream == stream}
    return by_version.pop(_VERSION, "") == "AVAILABLE" and set(by_version.values()) <= {"END"}


def _judge(answered: list[Seen], before: Window, during: Window) -> Swap:
    return Swap(
        before=latency(answered, before),
        finding=latency(answered, Window(before.end_s, during.start_s)),
        during=latency(answered, during),
        after=latency(answered, Window(during.end_s, during.end_s + _AFTER_S)),
        duration_s=during.end_s - during.start_s,
        answered_by=by_version(answered, Window(before.start_s, during.end_s + _AFTER_S)),
    )
