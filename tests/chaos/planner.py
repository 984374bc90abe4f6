"""From a seed to a schedule of what goes wrong: pure, and always possible to come through."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import cycle

from tests.chaos.cluster import NODES
from tests.chaos.requests import POISON, Kind

MOST_WORKERS = 4
FEWEST_WORKERS = 1
WORKERS_AT_START = 2
# Requests, of all keys together.
PER_S = 250.0
# A worker has at most so many batches of so many requests between poll and delivery.
BATCHES_IN_FLIGHT = 2
BATCH_SIZE = 64
IN_FLIGHT = BATCHES_IN_FLIGHT * BATCH_SIZE
# Commits are 50 ms apart; on a machine that has no time for them it takes longer until the broker has one.
COMMITTED_WITHIN_S = 1.0
# How long a worker is stopped: longer than the six seconds after which its group gives it up.
STOPPED_S = (8.0, 10.0)
# How long a node is away; at its longest, groups and transactions whose coordinator it is are given up.
KILLED_S = (1.0, 5.0)
CUT_S = (3.0, 9.0)
POISON_AT_ONCE = (1, 8)


class Lane(StrEnum):
    """What an event happens to. Lanes run side by side; in each, an event waits for the end of the one before."""

    WORKERS = "workers"
    BROKERS = "brokers"
    VERSIONS = "versions"
    REQUESTS = "requests"


class Action(StrEnum):
    """What happens."""

    KILL_WORKER = "kill -9 worker"
    STOP_WORKER = "stop worker"
    RESTART_WORKER = "restart worker"
    SCALE = "scale workers to"
    KILL_BROKER = "kill broker"
    BLACK_HOLE = "black hole before broker"
    RESET = "reset connections of broker"
    MOVE_LEADERS = "move leaders"
    SWAP_VERSION = "swap version"
    POISON = "poison"


@dataclass(frozen=True)
class Event:
    """One thing that goes wrong, not before ``at_s`` after the start.

    ``target`` is a worker (by its place among those that run), a broker, or how many workers or records. ``lasting_s``
    is how long it is left so. Every event heals what it did before the next of its lane.
    """

    at_s: float
    lane: Lane
    action: Action
    target: int = 0
    lasting_s: float = 0.0
    kind: Kind | None = None

    def __str__(self) -> str:
        what = f"{self.action} {self.kind or ''} {self.target}".replace("  ", " ")
        return f"{self.at_s:6.1f} s  {what}{f' for {self.lasting_s:.1f} s' if self.lasting_s else ''}"


def most_duplicates(schedule: Iterable[Event]) -> int:
    """Return how many answers at-least-once may repeat in a run: what no commit had covered when partitions moved.

    A worker that is killed, or given up while it is stopped, had answered what was in flight, and what it answered in
    the time of a commit. While a broker is away, nobody may be able to commit: then it is what all of them answered
    meanwhile.
    """
    found = 0.0
    for event in schedule:
        if event.action in (Action.KILL_WORKER, Action.STOP_WORKER):
            found += IN_FLIGHT + PER_S * COMMITTED_WITHIN_S
        elif event.lane is Lane.BROKERS:
            found += MOST_WORKERS * IN_FLIGHT + PER_S * (event.lasting_s + COMMITTED_WITHIN_S)
    return int(found)


def plan(seed: int, duration_s: float) -> tuple[Event, ...]:
    """Return the schedule of a seed, by time; the same for the same arguments, whoever asks.

    In each lane every action comes once before any comes twice. At most one broker is away at a time, and never all of
    the workers: one event at a time touches them, and one that takes a worker away first finds two.
    """
    events = [
        *_lane(random.Random(f"{seed} workers"), duration_s, _worker_events, pause_s=(0.5, 2.0)),
        *_lane(random.Random(f"{seed} brokers"), duration_s, _broker_events, pause_s=(1.0, 4.0)),
        *_lane(random.Random(f"{seed} versions"), duration_s, _version_events, pause_s=(8.0, 16.0)),
        *_lane(random.Random(f"{seed} requests"), duration_s, _poison_events, pause_s=(1.0, 5.0)),
    ]
    return tuple(sorted(events, key=lambda event: (event.at_s, event.lane)))


def _lane(
    draw: random.Random,
    duration_s: float,
    events: Callable[[random.Random], Iterator[tuple[Event, float]]],
    pause_s: tuple[float, float],
) -> Iterator[Event]:
    """Yield events until the duration is over, with pauses between them."""
    at_s = draw.uniform(*pause_s)
    for event, takes_s in events(draw):
        if at_s + event.lasting_s > duration_s:
            return
        yield Event(round(at_s, 1), event.lane, event.action, event.target, round(event.lasting_s, 1), event.kind)
        at_s += event.lasting_s + takes_s + draw.uniform(*pause_s)


# Each yields events for ever, and how long the healing of each is thought to take: only to space the schedule out.


def _worker_events(draw: random.Random) -> Iterator[tuple[Event, float]]:
    lane = Lane.WORKERS
    while True:
        # Up, something while there are many, and down again: between them whatever the seed says.
        faults = [Action.KILL_WORKER, Action.STOP_WORKER, Action.RESTART_WORKER]
        draw.shuffle(faults)
        up = draw.randrange(len(faults))
        for position, action in enumerate(faults):
            lasting_s = draw.uniform(*STOPPED_S) if action is Action.STOP_WORKER else 0.0
            if position == up:
                yield Event(0, lane, Action.SCALE, MOST_WORKERS), 5.0
            yield Event(0, lane, action, draw.randrange(MOST_WORKERS), lasting_s), 3.0
        yield Event(0, lane, Action.SCALE, FEWEST_WORKERS), 3.0
        yield Event(0, lane, Action.SCALE, WORKERS_AT_START), 3.0


def _broker_events(draw: random.Random) -> Iterator[tuple[Event, float]]:
    lasting_s = {Action.KILL_BROKER: KILLED_S, Action.BLACK_HOLE: CUT_S, Action.RESET: CUT_S}
    while True:
        actions = [*lasting_s, Action.MOVE_LEADERS]
        draw.shuffle(actions)
        for action in actions:
            length_s = draw.uniform(*lasting_s[action]) if action in lasting_s else 0.0
            takes_s = 6.0 if action is Action.KILL_BROKER else 1.0
            yield Event(0, Lane.BROKERS, action, draw.randrange(NODES), length_s), takes_s


def _version_events(_draw: random.Random) -> Iterator[tuple[Event, float]]:
    while True:
        yield Event(0, Lane.VERSIONS, Action.SWAP_VERSION), 0.0


def _poison_events(draw: random.Random) -> Iterator[tuple[Event, float]]:
    kinds = list(POISON)
    draw.shuffle(kinds)
    for kind in cycle(kinds):
        yield Event(0, Lane.REQUESTS, Action.POISON, draw.randint(*POISON_AT_ONCE), kind=kind), 0.0
