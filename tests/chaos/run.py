"""One run: a deployment under load, a schedule carried out on it, and the account at its end."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from tests.acceptance.conftest import factor_model
from tests.acceptance.workers import Deployment, wait_for
from tests.chaos.accounting import Account, Guarantee, account
from tests.chaos.answers import Answers
from tests.chaos.cluster import Cluster
from tests.chaos.collector import Collector, ends_of
from tests.chaos.crew import Crew
from tests.chaos.load import Load
from tests.chaos.planner import BATCH_SIZE, BATCHES_IN_FLIGHT, PER_S, WORKERS_AT_START, Action, Event, Lane, plan
from tests.chaos.proxy import Cut
from tests.chaos.requests import STREAM

_LIMITS: Final = {"max_batch_size": BATCH_SIZE, "max_batches_in_flight": BATCHES_IN_FLIGHT}
# An answer that has not come after so long without any other will not come.
_STALLED_S = 60.0
_LIVE_S = 120.0
_CALL_S = 0.005

Say = Callable[[str], None]


@dataclass(frozen=True)
class Outcome:
    """What a run came to. ``took_s`` is from the start of the schedule to the last healing, ``waits_s`` how long each
    request waited for its first answer, from shortest to longest, ``silence_s`` how long a partition was without
    answers, ``fenced`` how many workers had to be replaced because the broker had ended their transaction.
    """

    account: Account
    schedule: Sequence[Event]
    took_s: float
    waits_s: Sequence[float]
    silence_s: float
    fenced: int

    def __str__(self) -> str:
        """Return the figures, for people."""
        it, waits = self.account, self.waits_s
        happened = Counter(str(event.action) for event in self.schedule)
        middle, most, longest = (
            (waits[int(part * (len(waits) - 1))] for part in (0.5, 0.99, 1.0)) if waits else (0, 0, 0)
        )
        return (
            f"{len(self.schedule)} events in {self.took_s:.0f} s: "
            f"{', '.join(f'{n} {what}' for what, n in happened.items())}\n"
            f"{it.requests} requests: {len(it.lost)} lost, {it.duplicates} duplicates, "
            f"{len(it.unordered)} out of order, "
            f"{len(it.wrong)} wrong, {len(it.strange)} strange, {it.uncommitted} uncommitted; "
            f"by kind: {', '.join(f'{n} {kind}' for kind, n in it.kinds.items())}\n"
            f"{it.letters} dead letters: {len(it.letters_lost)} lost, {sum(it.letters_doubled.values())} duplicates; "
            f"waits for the first answer: {middle:.2f} s half, {most:.1f} s 99 %, {longest:.1f} s longest; "
            f"longest silence of a partition {self.silence_s:.1f} s; "
            f"{self.fenced} workers fenced"
        )


class Chaos:
    """``run`` it once. ``say`` gets a line for each thing that happens, from several threads."""

    def __init__(
        self, cluster: Cluster, folder: Path, guarantee: Guarantee, seed: int, duration_s: float, say: Say
    ) -> None:
        self._cluster, self._say = cluster, say
        self._schedule = plan(seed, duration_s)
        self._seed = seed
        self._deployment = _deploy(folder, cluster.bootstrap, guarantee)
        self._route = self._deployment.settings.routes[STREAM]
        self._crew = Crew(self._deployment, guarantee)
        self._answers = Answers()
        self._versions = itertools.count(1)
        self._is_abandoned = threading.Event()

    def run(self) -> Outcome:
        """Carry the schedule out, come to rest, and return what there is; fails for what is no matter of counting."""
        route, bootstrap = self._route, self._cluster.bootstrap
        with contextlib.ExitStack() as exits:
            exits.callback(self._deployment.close)
            self._drop_version()
            self._deployment.watcher()
            self._crew.scale(WORKERS_AT_START)
            results = exits.enter_context(Collector(bootstrap, route.result_topic, self._answers.take_result))
            letters = exits.enter_context(Collector(bootstrap, route.dead_letter_topic, self._answers.take_letter))
            load = exits.enter_context(Load(bootstrap, route.request_topic, per_s=PER_S, seed=self._seed))
            wait_for("the first answers", lambda: self._answers.distinct() > PER_S, timeout_s=_LIVE_S)
            began_s = time.monotonic()
            self._carry_out(load)
            took_s = time.monotonic() - began_s
            load.finish()
            self._come_to_rest(len(load.asked))
            results.read_to_the_end()
            letters.read_to_the_end()
            found = account(load.asked, self._answers.all, self._answers.letters, sum(self._uncommitted().values()))
        return Outcome(
            found,
            self._schedule,
            took_s,
            self._answers.waits_s(load.asked_at_s),
            self._answers.longest_silence_s,
            self._crew.fenced,
        )

    def _carry_out(self, load: Load) -> None:
        """Carry out each lane on a thread of its own, and heal whatever is left; fails with a lane's failure."""
        began_s = time.monotonic()
        try:
            with ThreadPoolExecutor(len(Lane)) as threads:
                lanes = [threads.submit(self._lane, lane, load, began_s) for lane in Lane]
                for lane in lanes:
                    lane.result()
        finally:
            self._crew.go_on()
            self._cluster.heal()

    def _lane(self, lane: Lane, load: Load, began_s: float) -> None:
        try:
            for event in self._schedule:
                if event.lane is not lane:
                    continue
                if self._is_abandoned.wait(max(0.0, began_s + event.at_s - time.monotonic())):
                    return
                from_s = time.monotonic()
                self._act(event, load)
                self._say(f"{event}  (from {from_s - began_s:.1f} to {time.monotonic() - began_s:.1f} s)")
        except BaseException as error:
            self._is_abandoned.set()
            error.add_note(f"lane {lane}")
            raise

    def _act(self, event: Event, load: Load) -> None:
        target, cluster, crew = event.target, self._cluster, self._crew
        last = partial(self._is_abandoned.wait, event.lasting_s)
        match event.action:
            case Action.KILL_WORKER:
                crew.kill(target)
            case Action.RESTART_WORKER:
                crew.restart(target)
            case Action.STOP_WORKER:
                crew.stop(target, last)
            case Action.SCALE:
                crew.scale(target)
            case Action.MOVE_LEADERS:
                cluster.move_leaders()
            case Action.KILL_BROKER:
                cluster.kill(target)
                last()
                cluster.heal()
            case Action.BLACK_HOLE | Action.RESET:
                cluster.cut(target, Cut.RESET if event.action is Action.RESET else Cut.BLACK_HOLE)
                last()
                cluster.heal()
            case Action.SWAP_VERSION:
                version = self._drop_version()
                wait_for(
                    f"an answer by version {version}", lambda: self._answers.has_version(version), timeout_s=_LIVE_S
                )
            case Action.POISON:
                assert event.kind is not None
                load.poison(event.kind, target)

    def _drop_version(self) -> int:
        version = next(self._versions)
        self._deployment.drop(STREAM, version, {"factor": str(version).encode()})
        return version

    def _come_to_rest(self, requests: int) -> None:
        """Wait until every request is answered, or nothing more comes; then end the workers in good order."""
        seen, at_s = -1, time.monotonic()
        while (now := self._answers.distinct()) < requests and time.monotonic() - at_s < _STALLED_S:
            self._crew.tend()
            if now > seen:
                seen, at_s = now, time.monotonic()
            time.sleep(0.1)
        self._crew.tend()
        if now < requests:
            self._say(f"{requests - now} answers are missing; uncommitted: {self._uncommitted()}\n{self._crew.logs()}")
        self._crew.scale(0)

    def _uncommitted(self) -> dict[int, int]:
        """Return how many requests of each partition a new worker would be given."""
        topic, group = self._route.request_topic, self._route.group
        consumer = Consumer({"bootstrap.servers": self._cluster.bootstrap, "group.id": group, "log_level": 0})
        try:
            partitions = consumer.list_topics(topic, 30).topics[topic].partitions
            places = [TopicPartition(topic, partition) for partition in partitions]
            ends = ends_of(AdminClient({"bootstrap.servers": self._cluster.bootstrap}), places)
            committed = consumer.committed(places, 60)
            return {at.partition: ends[at.topic, at.partition] - max(at.offset, 0) for at in committed}
        finally:
            consumer.close()


def _deploy(folder: Path, bootstrap: str, guarantee: Guarantee) -> Deployment:
    (folder / "factor_model.py").write_text(factor_model(_CALL_S))
    (folder / "models" / STREAM).mkdir(parents=True)
    route = dict(_LIMITS) if guarantee is Guarantee.AT_LEAST_ONCE else {**_LIMITS, "guarantee": str(guarantee)}
    stream = {"base_path": f"models/{STREAM}", "kind": "python", "options": {"class": "factor_model:Factor"}}
    return Deployment(folder, bootstrap, {"servables": {STREAM: stream}, "routes": {STREAM: route}})
