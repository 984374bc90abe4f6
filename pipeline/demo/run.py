"""The demo from the first image to the last number."""

from __future__ import annotations

import itertools
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pipeline.control.rows import reason_of
from pipeline.demo import digits, report
from pipeline.demo.stage import Stage, StageFailed
from pipeline.demo.stream import Live, Pace, Sender, Tally
from pipeline.records import State

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipeline.demo.broker import Broker
    from pipeline.demo.report import Report
    from pipeline.demo.show import Show

VERSION_2_AT: Final = 0.4
VERSION_3_AT: Final = 0.7

_WARM_UP_TIMEOUT_S: Final = 30.0
_OVERTIME_S: Final = 20.0
_LAST_ANSWER_S: Final = 20.0
_SETTLE_S: Final = 1.0
_LOOK_EVERY: Final = 20


@dataclass(frozen=True)
class Plan:
    """``requests``: at least so many; the stream goes on, 20 s at most, until every version has had its turn."""

    requests: int
    per_s: float
    keep: Path | None = None


@dataclass(frozen=True)
class Outcome:
    """The report, each version's state after the stream, what is wrong (nothing, when all is well), and then why.

    ``evidence`` ends with the tail of the worker's log; empty when all is well.
    """

    report: Report
    states: dict[int, str]
    shortcomings: list[str]
    evidence: str


def run(plan: Plan, venue: AbstractContextManager[Broker], show: Show) -> Outcome:
    """Run the demo and return what happened; blocks for about half a minute. Leaves no process behind.

    Raises StageFailed, LocalBrokerError or an error of the tree where it could not be run to its end.
    """
    train, test = digits.split()
    show.step(f"{len(train.labels) + len(test.labels)} handwritten digits: {len(train.labels)} to learn from, "
              f"{len(test.labels)} to ask about")  # fmt: skip
    models = {1: digits.train_linear(train), 2: digits.train_net(train)}
    show.step("trained version 1 (linear) and version 2 (a small neural net)")
    with venue as broker:
        show.step(f"broker: {broker.text}")
        with Stage(broker, plan.keep) as stage:
            for version, model in models.items():
                digits.export(digits.layers_of(model), stage.prepared(version))
            digits.export_corrupt(stage.prepared(3))
            if plan.keep is not None:
                digits.save_image(test, stage.folder / "image.npy")
            stage.drop(1)
            stage.start()
            show.step("started `penstock worker` and `penstock watch`; version 1 is AVAILABLE")
            found = _stream(plan, broker, stage, test, show)
            states = {version: stage.describe(version) for version in (1, 2, 3)}
            wrong = report.shortcomings(found)
            return Outcome(found, states, wrong, str(stage.failure("this run is not as it should be")) if wrong else "")


def _stream(plan: Plan, broker: Broker, stage: Stage, test: digits.Part, show: Show) -> Report:
    from pipeline.client import InputQueue

    tally = Tally(broker.kafka, f"{broker.route}.results")
    with InputQueue(broker.route, kafka=broker.kafka) as queue:

        def enqueue(id_: str, tensors: Mapping[str, Any]) -> None:
            queue.enqueue(id_, **tensors)

        tally.start()
        try:
            # The worker joins its group with the first request: not a part of what the stream measures.
            first = Sender(test, enqueue, "warm-up").send()
            stage.wait(lambda: first in tally.ids, _WARM_UP_TIMEOUT_S, "the first request was not answered")
            sender = Sender(test, enqueue)
            live = Live(sender.sent)
            with show.stream(plan.requests, sender.sent, live, stage):
                _send(plan, sender, tally, live, stage, show)
                queue.flush()
                _collect(sender, tally, live, stage)
        finally:
            tally.stop()
    return report.make_report(sender.sent, tally.received, _broken(stage), broker.text)


def _send(plan: Plan, sender: Sender, tally: Tally, live: Live, stage: Stage, show: Show) -> None:
    pace = Pace(plan.per_s)
    waiting = [2, 3]
    overtime_ends_s = float("inf")
    for number in itertools.count():
        if number == plan.requests:
            overtime_ends_s = time.monotonic() + _OVERTIME_S
        if number >= plan.requests and (stage.is_in(3, State.END) or time.monotonic() > overtime_ends_s):
            return
        if number % _LOOK_EVERY == 0:
            _look(stage, tally, live)
        if waiting and _is_due(waiting[0], number / plan.requests, live):
            stage.drop(waiting[0])
            show.dropped(waiting.pop(0))
        pace.wait()
        sender.send()


def _is_due(version: int, progress: float, live: Live) -> bool:
    """Version 3 waits for version 2: both at once, and the watcher would only ever aspire to the newer one."""
    if version == 2:
        return progress >= VERSION_2_AT
    return progress >= VERSION_3_AT and live.answered[2] > 0


def _look(stage: Stage, tally: Tally, live: Live) -> None:
    live.update(tally.received)
    stage.check()
    if tally.fatal is not None:
        raise StageFailed(f"the results can not be read: {tally.fatal}")


def _collect(sender: Sender, tally: Tally, live: Live, stage: Stage) -> None:
    """Wait for the last answers, and then a little for those that should not come: second ones."""
    deadline_s = time.monotonic() + _LAST_ANSWER_S
    settle_s = 0.0
    while time.monotonic() < deadline_s:
        _look(stage, tally, live)
        if sender.sent.keys() <= tally.ids:
            settle_s = settle_s or time.monotonic() + _SETTLE_S
            if time.monotonic() > settle_s:
                return
        time.sleep(0.05)


def _broken(stage: Stage) -> report.BrokenVersion:
    state = stage.state(3)
    if state is None:
        return report.BrokenVersion("never seen", "")
    return report.BrokenVersion(state.state, reason_of(state))
