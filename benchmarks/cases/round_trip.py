"""Round trip: how long one idle client waits for ``InputQueue.predict``, against a bare echo on two such topics.

One question at a time, with a pause between, from a process of its own; the first ones are not counted. The same by
hand, loop and client, with the guarantee that ours has and with none, tells what of the difference is computing, codec
and guarantee.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks import accounting, figures, machine, model, report
from benchmarks.collect import account_by_key
from benchmarks.contenders import echo, hand_written, penstock, unguarded
from benchmarks.figures import each
from benchmarks.harness import alternate
from benchmarks.place import PARTITIONS
from benchmarks.process import helper
from benchmarks.reading import read

if TYPE_CHECKING:
    from benchmarks.harness import Harness, Rival

NAME: Final = "round-trip"
REQUESTS: Final = 300
ROUNDS: Final = 5
TARGET: Final = 1.5
_WARM_UP: Final = 50
_RIVALS: Final = (penstock, echo, hand_written, unguarded)
_CLIENT: Final = {
    penstock.NAME: "predict",
    echo.NAME: "echo",
    hand_written.NAME: "by-hand",
    unguarded.NAME: "by-hand",
}


@dataclass(frozen=True)
class Measured:
    """One contender's round."""

    p50_ms: float
    p99_ms: float
    account: accounting.Account


def run(harness: Harness, rounds: int, requests: int) -> report.Report:
    """Measure all rounds and return the report; raises BenchmarkError."""
    measured = alternate(
        _RIVALS,
        rounds,
        lambda rival: _measure(harness, rival, requests),
        lambda _, one: f"p50 {one.p50_ms:>7.2f} ms  p99 {one.p99_ms:>7.2f} ms",
    )
    return report.make(
        case=NAME,
        measure="p50 from question to answer, one idle client",
        unit="ms",
        target=TARGET,
        better="lower",
        rounds=each(measured, lambda one: one.p50_ms),
        versus=[
            report.Versus(unguarded.NAME, echo.NAME),
            report.Versus(hand_written.NAME, echo.NAME),
            report.Versus(penstock.NAME, hand_written.NAME),
        ],
        others={"p99, ms": each(measured, lambda one: one.p99_ms)},
        descriptions={rival.NAME: rival.DESCRIPTION for rival in _RIVALS},
        accounts=each(measured, lambda one: one.account),
        settings={
            "requests": requests,
            "warm_up_requests": _WARM_UP,
            "partitions": PARTITIONS,
            "openvino": model.OPENVINO,
        },
        machine=machine.describe(harness.broker, str(harness.cores)),
    )


def _measure(harness: Harness, rival: Rival, count: int) -> Measured:
    with harness.place(rival.NAME) as place:
        topics = (place.bootstrap, place.requests, place.results)
        with harness.running(rival, place):  # the client's first question waits until it is up
            took_ms = helper("benchmarks.client", _CLIENT[rival.NAME], *topics, _WARM_UP, count, timeout_s=60 + count)
        # By the keys: the client has looked at the answers themselves.
        account = account_by_key(read(place.bootstrap, place.requests), read(place.bootstrap, place.results))
        account["uncommitted"] = place.uncommitted()
    return Measured(figures.percentile(took_ms, 50), figures.percentile(took_ms, 99), account)
