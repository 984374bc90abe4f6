"""A seed is a schedule, the schedule has everything, and one can come through it."""

from __future__ import annotations

from hypothesis import given, strategies as st

from tests.chaos.cluster import NODES
from tests.chaos.planner import FEWEST_WORKERS, MOST_WORKERS, WORKERS_AT_START, Action, Event, Lane, plan
from tests.chaos.requests import POISON

SEEDS = st.integers(0, 2**32)
MINUTE_S = 60.0


def of(lane: Lane, schedule: tuple[Event, ...]) -> list[Event]:
    return [event for event in schedule if event.lane is lane]


@given(SEEDS)
def test_the_same_seed_is_the_same_schedule(seed):
    assert plan(seed, MINUTE_S) == plan(seed, MINUTE_S)


def test_another_seed_is_another_schedule():
    assert len({plan(seed, MINUTE_S) for seed in range(100)}) == 100


@given(SEEDS)
def test_a_longer_run_begins_as_a_shorter_one_of_its_seed_does(seed):
    short, long = plan(seed, MINUTE_S), plan(seed, 3 * MINUTE_S)
    for lane in Lane:
        begun = of(lane, short)
        assert of(lane, long)[: len(begun)] == begun


@given(SEEDS)
def test_one_minute_has_every_action_and_every_kind_of_poison(seed):
    schedule = plan(seed, MINUTE_S)
    assert {event.action for event in schedule} == set(Action)
    assert {event.kind for event in schedule} - {None} == set(POISON)


@given(SEEDS, st.floats(MINUTE_S, 600))
def test_at_most_one_broker_is_away_at_a_time_and_all_are_back_at_the_end(seed, duration_s):
    events = of(Lane.BROKERS, plan(seed, duration_s))
    assert all(0 <= event.target < NODES for event in events)
    ends = [event.at_s + event.lasting_s for event in events]
    assert all(end < later.at_s for end, later in zip(ends, events[1:], strict=False))
    assert all(end <= duration_s + 0.1 for end in ends)


@given(SEEDS, st.floats(MINUTE_S, 600))
def test_whoever_takes_a_worker_away_leaves_another(seed, duration_s):
    size = WORKERS_AT_START
    for event in of(Lane.WORKERS, plan(seed, duration_s)):
        if event.action is Action.SCALE:
            size = event.target
        else:
            assert size >= 2, event
        assert FEWEST_WORKERS <= size <= MOST_WORKERS


@given(SEEDS)
def test_the_workers_are_scaled_from_one_to_four_and_back(seed):
    sizes = [event.target for event in of(Lane.WORKERS, plan(seed, 2 * MINUTE_S)) if event.action is Action.SCALE]
    assert sizes[:4] == [MOST_WORKERS, FEWEST_WORKERS, WORKERS_AT_START, MOST_WORKERS]


@given(SEEDS)
def test_a_worker_is_stopped_for_longer_than_its_session_lasts(seed):
    stops = [event for event in plan(seed, MINUTE_S) if event.action is Action.STOP_WORKER]
    assert all(event.lasting_s > 6.0 for event in stops)
