"""Start: how long until a worker that is just started has answered, and a client has its answer; and what idling costs.

A request lies there before the worker starts. Its clock runs from the start of the process to the broker's timestamp of
the result; the client's from the start of its process to its answer from a worker that is up.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks import accounting, backlog, machine, model, report
from benchmarks.backlog import Backlog, watch_commits
from benchmarks.contenders import hand_written, penstock
from benchmarks.figures import each
from benchmarks.harness import alternate
from benchmarks.place import PARTITIONS
from benchmarks.process import helper
from benchmarks.reading import read

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.harness import Harness, Rival
    from benchmarks.place import Place
    from benchmarks.process import Contender

NAME: Final = "start"
REQUESTS: Final = 1
ROUNDS: Final = 5
TARGET: Final = 3.0
_RIVALS: Final = (penstock, hand_written)
_REST_S: Final = 2.0
_IDLE_S: Final = 10.0


@dataclass(frozen=True)
class Measured:
    """One worker's round; the clients, by name, asked it, if it was ours."""

    worker_s: float
    idle_cpu_percent: float
    idle_mib: float
    client_s: Mapping[str, float]
    account: accounting.Account


def run(harness: Harness, rounds: int, requests: int) -> report.Report:  # noqa: ARG001  # one request is all
    """Measure all rounds and return the report; raises BenchmarkError."""
    for rival in _RIVALS:  # not counted: the broker is cold, and the disk is read
        _measure(harness, rival)
    measured = alternate(_RIVALS, rounds, lambda rival: _measure(harness, rival), _show)
    workers = {f"worker, {name}": several for name, several in each(measured, lambda one: one.worker_s).items()}
    clients = {
        f"client, {rival.NAME}": [one.client_s[rival.NAME] for one in measured[penstock.NAME]] for rival in _RIVALS
    }
    return report.make(
        case=NAME,
        measure="seconds from the start of a worker's process to its first answer",
        unit="s",
        target=TARGET,
        better="lower",
        rounds={**workers, **clients},
        ratio=statistics.median(workers[f"worker, {penstock.NAME}"]),
        versus=[
            report.Versus(f"worker, {penstock.NAME}", f"worker, {hand_written.NAME}"),
            report.Versus(f"client, {penstock.NAME}", f"client, {hand_written.NAME}"),
        ],
        others={
            "CPU of an idle worker, %": each(measured, lambda one: one.idle_cpu_percent),
            "memory of an idle worker, MiB": each(measured, lambda one: one.idle_mib),
        },
        descriptions={rival.NAME: rival.DESCRIPTION for rival in _RIVALS},
        accounts=each(measured, lambda one: one.account),
        settings={
            "idle_s": _IDLE_S,
            "partitions": PARTITIONS,
            "openvino": model.OPENVINO,
            "clients": "both ask our worker",
            "clock": "this machine's; where the broker is on another, the two must agree",
        },
        machine=machine.describe(harness.broker, str(harness.cores)),
    )


def _measure(harness: Harness, rival: Rival) -> Measured:
    asked = Backlog(1)
    with harness.place(rival.NAME) as place:
        asked.produce(place)
        with harness.running(rival, place) as contender:
            watch_commits([contender], place, asked.count)
            cpu_percent, mib = _idle(contender)
            client_s = {one.NAME: _client_s(one, place) for one in (_RIVALS if rival is penstock else ())}
        answered_s = min(message.timestamp()[1] for message in read(place.bootstrap, place.results)) / 1000
        account = backlog.account(place)
    return Measured(answered_s - contender.started_s, cpu_percent, mib, client_s, account)


def _idle(contender: Contender) -> tuple[float, float]:
    """Return CPU in percent of a core, and resident MiB, of a contender that nobody asks anything."""
    time.sleep(_REST_S)
    before_s, start_s = contender.cpu_s, time.monotonic()
    time.sleep(_IDLE_S)
    return 100 * (contender.cpu_s - before_s) / (time.monotonic() - start_s), contender.rss_mib


def _client_s(one: Rival, place: Place) -> float:
    topics = (place.bootstrap, place.requests, place.results)
    return float(helper("benchmarks.first_answer", one.NAME, *topics, time.time())["seconds"])


def _show(_: object, one: Measured) -> str:
    return f"first answer after {one.worker_s:.2f} s  idle {one.idle_cpu_percent:.1f} % CPU  {one.idle_mib:.0f} MiB"
