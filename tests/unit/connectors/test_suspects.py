"""Only the record that kills is set aside, after exactly as many kills as were allowed; simulated, with the connector's
own bookkeeping: batches in flight, commits that come late or never, owners that change, restarts."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings, strategies as st

from connectors.kafka.offsets import OffsetTracker, Partition, Spans
from connectors.kafka.suspects import Mark, Place, Suspects, parse

P, Q = ("q", 0), ("q", 1)
MAX_BATCH, MAX_IN_FLIGHT = 4, 3
WINDOW = MAX_BATCH * MAX_IN_FLIGHT


class Broker:
    """A log per partition, what is committed of it, and which requests have been answered and how."""

    def __init__(self, ends: dict[Partition, int]) -> None:
        self.ends = ends
        self.committed: dict[Partition, tuple[int, str | None]] = dict.fromkeys(ends, (-1001, None))
        self.answered: Counter[Place] = Counter()
        self.set_aside: set[Place] = set()
        self.deaths: Counter[Place] = Counter()

    @property
    def is_done(self) -> bool:
        return all(self.committed[partition][0] == end for partition, end in self.ends.items())


class Killed(Exception):  # it is what happens, not what is wrong
    """The process is gone."""


class Worker:
    """What the connector does, one step at a time; a step raises Killed when the guilty record is computed."""

    def __init__(self, broker: Broker, guilty: set[Place], after: int, least: int, chance: random.Random) -> None:
        self.broker, self.guilty, self.after, self.chance = broker, guilty, after, chance
        self.suspects, self.tracker = Suspects(WINDOW, least), OffsetTracker()
        self.batches: list[tuple[list[tuple[Place, int]], object]] = []
        self.late: list[tuple[Partition, int, str]] = []  # commits that the broker does not have yet
        self.position: dict[Partition, int] = {}
        self.held: list[Place] = []

    def assign(self, partitions: list[Partition]) -> None:
        found = {partition: self.broker.committed[partition] for partition in partitions}
        self.suspects.assign(found)
        self.tracker.assign(partitions)
        self.position.update({partition: max(offset, 0) for partition, (offset, _) in found.items()})

    def poll(self) -> None:
        if len(self.batches) == MAX_IN_FLIGHT:
            return
        places, self.held = self.held[:MAX_BATCH], self.held[MAX_BATCH:]
        room = 0 if self.held else MAX_BATCH - len(places)
        for partition in self.chance.sample(sorted(self.position), len(self.position)):
            while room > 0 and self.position[partition] < self.broker.ends[partition] and self.chance.random() < 0.8:
                places.append((partition, self.position[partition]))
                self.position[partition] += 1
                room -= 1
        is_quiet = not self.batches and not self.tracker.in_flight(self.tracker.assigned)
        taken, held = self.suspects.choose(places, is_quiet=is_quiet)
        self.held[:0] = [places[position] for position in held]
        chosen = [(places[position], self.suspects.kills(places[position])) for position in taken]
        if not chosen:
            return
        spans: dict[Partition, tuple[int, int]] = {}
        for (partition, offset), _ in chosen:
            spans[partition] = (spans.get(partition, (offset, 0))[0], offset + 1)
        ahead = self.look_ahead() if self.suspects.is_calm and self.suspects.is_due(spans) else {}
        due = self.suspects.take(spans, ahead)
        if due:
            self.commit(due, is_blocking=True)
        self.batches.append((chosen, self.tracker.take({key: end for key, (_, end) in spans.items()})))

    def look_ahead(self) -> Spans:
        """Keep some of what comes next of some partitions, in front of all that has not come."""
        spans: dict[Partition, tuple[int, int]] = {}
        for partition in self.chance.sample(sorted(self.position), len(self.position)):
            first = self.position[partition]
            end = min(first + self.chance.randrange(2 * WINDOW), self.broker.ends[partition])
            if first < end:
                self.held += [(partition, offset) for offset in range(first, end)]
                self.position[partition], spans[partition] = end, (first, end)
        return spans

    def compute(self) -> None:
        if not self.batches:
            return
        chosen, taken = self.batches[0]
        for place, kills in chosen:
            if kills >= self.after:
                self.broker.set_aside.add(place)
            elif place in self.guilty:
                self.broker.deaths[place] += 1
                raise Killed
        for place, _ in chosen:
            self.broker.answered[place] += 1
        self.batches.pop(0)
        self.tracker.finish(taken)

    def commit(self, due: dict[Partition, int] | None = None, *, is_blocking: bool, is_leaving: bool = False) -> None:
        offsets = self.tracker.pop_committable()
        for partition, offset in (due or {}).items():
            offsets[partition] = max(offset, offsets.get(partition, offset))
        self.late += [
            (key, offset, self.suspects.mark(key, offset, is_leaving=is_leaving)) for key, offset in offsets.items()
        ]
        if is_blocking:
            self.deliver(len(self.late))

    def deliver(self, count: int) -> None:
        for partition, offset, text in self.late[:count]:
            self.broker.committed[partition] = (offset, text)
            self.suspects.accepted(partition, offset, text)
        del self.late[:count]

    def leave(self, partitions: list[Partition]) -> None:
        """What a revoke does whose budget was too short for what is in flight."""
        self.commit(self.suspects.leave(partitions), is_blocking=True, is_leaving=True)
        self.suspects.revoke(partitions)
        self.tracker.revoke(partitions)
        self.held = [place for place in self.held if place[0] not in partitions]
        for partition in partitions:
            del self.position[partition]

    def step(self) -> None:
        what = self.chance.choice(["poll", "poll", "compute", "compute", "commit", "deliver"])
        if what == "poll":
            self.poll()
        elif what == "compute":
            self.compute()
        elif what == "commit":
            self.commit(is_blocking=False)
        else:
            self.deliver(self.chance.randint(0, len(self.late)))


def run(broker: Broker, guilty: set[Place], after: int, least: int, seed: int) -> None:
    """Restart the worker whenever it is killed; sometimes it leaves in good order, sometimes a partition moves."""
    chance = random.Random(seed)
    worker: Worker | None = None
    for _ in range(20_000):
        if worker is None:
            worker = Worker(broker, guilty, after, least, chance)
            worker.assign(sorted(broker.ends))
        try:
            worker.step()
        except Killed:
            worker.deliver(chance.randint(0, len(worker.late)))  # what was on its way may still arrive
            worker = None
            continue
        if chance.random() < 0.01:
            worker.leave(sorted(worker.position))
            worker = None
        elif broker.is_done:
            return
    raise AssertionError(f"not done: {broker.committed} of {broker.ends}")


@given(
    seed=st.integers(0, 2**32),
    after=st.integers(3, 5),
    guilty=st.sets(st.tuples(st.sampled_from([P, Q]), st.integers(0, 29)), max_size=3),
    least=st.sampled_from([1, 3, WINDOW]),
)
@settings(max_examples=150)
def test_each_record_that_kills_is_set_aside_and_no_other(
    seed: int, after: int, guilty: set[Place], least: int
) -> None:
    broker = Broker({P: 30, Q: 20})
    guilty = {(partition, offset) for partition, offset in guilty if offset < broker.ends[partition]}
    run(broker, guilty, after, least, seed)
    assert broker.set_aside == guilty
    assert set(broker.answered) == {(key, offset) for key, end in broker.ends.items() for offset in range(end)}
    # Two deaths may be another's fault: a worker that dies with two such records names neither.
    assert all(after - 2 <= broker.deaths[place] <= after for place in guilty)


@given(seed=st.integers(0, 2**32), after=st.integers(3, 5), offset=st.integers(0, 29))
@settings(max_examples=50)
def test_one_record_that_kills_is_set_aside_after_exactly_as_many_kills(seed: int, after: int, offset: int) -> None:
    broker = Broker({P: 30, Q: 20})
    run(broker, {(P, offset)}, after, 3, seed)
    assert broker.set_aside == {(P, offset)}
    assert broker.deaths[P, offset] == after


def owner(offset: int = 5, text: str | None = None, window: int = WINDOW) -> Suspects:
    it = Suspects(window)
    it.assign({P: (offset, text)})
    return it


def test_an_owner_that_left_in_good_order_accuses_nobody() -> None:
    first = owner()
    assert first.take({P: (5, 9)}) == {P: 5}
    assert parse(5, first.mark(P, 5)).kind == "working"
    text = first.mark(P, 7, is_leaving=True)
    assert owner(7, text).is_calm


@pytest.mark.parametrize(
    "text",
    [None, "", "moved by hand", "penstock/1 working 5", "penstock/1 working 4 9 0 0", "penstock/2 working 5 9 0 0",
     "penstock/1 working 5 99999999999999999999 0 0", "penstock/1 alone 5 9 2 7 and more"],
)  # fmt: skip
def test_what_others_wrote_beside_an_offset_accuses_nobody(text: str | None) -> None:
    it = owner(5, text)
    assert it.is_calm
    assert it.kills((P, 5)) == 0


def test_a_mark_makes_no_more_records_suspects_than_it_can_reach_ahead() -> None:
    it = owner(5, str(Mark("working", 5, 10**9)))
    most = 2 * 16 * WINDOW
    assert it.choose([(P, 5 + most)], is_quiet=False) == ([0], [])
    assert it.choose([(P, 4 + most)], is_quiet=False) == ([], [0])


def test_a_partition_that_goes_while_a_suspect_is_tried_does_not_count_as_a_kill() -> None:
    it = owner(5, str(Mark("working", 5, 9)))
    assert it.take({P: (5, 6)}) == {P: 5}
    assert parse(5, it.mark(P, 5)).kind == "alone"
    assert it.leave([P]) == {P: 5}
    left = it.mark(P, 5, is_leaving=True)
    assert owner(5, left).kills((P, 5)) == 0
    assert not owner(5, left).is_calm


def test_a_suspect_waits_for_what_is_in_flight_and_holds_back_what_follows_it() -> None:
    it = owner(5, str(Mark("working", 5, 7)))
    it.assign({Q: (0, None)})
    places = [(Q, 0), (P, 5), (Q, 1), (P, 6), (P, 7), None]
    assert it.choose(places, is_quiet=True) == ([0, 2, 5], [1, 3, 4])
    assert it.choose(places[1:2], is_quiet=False) == ([], [0])
    assert it.choose([(P, 5), (P, 6), (P, 7)], is_quiet=True) == ([0, 1], [2])
    it.take({P: (5, 7)})
    assert it.choose([(Q, 2)], is_quiet=False) == ([], [0])


def test_kills_of_one_record_are_not_those_of_the_next() -> None:
    it = owner(5, str(Mark("alone", 5, 9, 1)))
    assert it.kills((P, 5)) == 3
    it.take({P: (5, 6)})
    assert it.kills((P, 6)) == 0
    it.take({P: (6, 7)})
    assert parse(6, it.mark(P, 6)) == Mark("alone", 6, 9, 0, 7)


def test_suspects_come_in_as_many_groups_as_a_group_has_records_and_after_a_second_death_alone() -> None:
    window = 2048
    many = list(range(100, 100 + window))
    it = owner(100, str(Mark("working", 100, 100 + window)), window)
    taken, held = it.choose([(P, offset) for offset in many], is_quiet=True)
    assert len(taken) == 46  # 46 * 46 is the first square that is no less
    assert len(held) == window - 46
    it.take({P: (100, 146)})
    killed = it.mark(P, 100)
    assert parse(100, killed) == Mark("trying", 100, 100 + window, 0, 146)

    it = owner(100, killed, window)
    for offset in (100, 101):
        places = [(P, each) for each in many[offset - 100 :]]
        assert it.choose(places, is_quiet=True)[0] == [0]
        assert it.kills((P, offset)) == 0
        it.take({P: (offset, offset + 1)})
        killed_again = it.mark(P, offset)
        assert parse(offset, killed_again) == Mark("alone", offset, 100 + window, 1, offset + 1)

    it = owner(101, killed_again, window)
    assert it.kills((P, 101)) == 3  # in flight, in a group, alone
    assert it.choose([(P, 101), (P, 102)], is_quiet=True) == ([0], [1])
    it.take({P: (101, 102)})
    assert it.choose([(P, offset) for offset in range(102, 200)], is_quiet=True)[0] == list(range(46))


def test_a_group_has_suspects_of_several_partitions_and_a_mark_for_each() -> None:
    it = owner(5, str(Mark("working", 5, 9)))
    it.assign({Q: (0, str(Mark("working", 0, 12)))})  # 16 in all: groups of 4
    places = [(P, 5), (Q, 0), (P, 6), (Q, 1), (P, 7), (Q, 2)]
    assert it.choose(places, is_quiet=True) == ([0, 1, 2, 3], [4, 5])
    assert it.take({P: (5, 7), Q: (0, 2)}) == {P: 5, Q: 0}
    assert parse(5, it.mark(P, 5)) == Mark("trying", 5, 9, 0, 7)
    assert parse(0, it.mark(Q, 0)) == Mark("trying", 0, 12, 0, 2)
    assert it.choose(places[4:], is_quiet=False) == ([], [0, 1])
    assert it.take({Q: (2, 3)}) == {P: 5, Q: 2}
    assert parse(7, it.mark(P, 7)).kind == "careful"


def test_one_of_each_of_two_partitions_is_not_alone() -> None:
    it = owner(5, str(Mark("working", 5, 6)))
    it.assign({Q: (0, str(Mark("working", 0, 1)))})
    it.take({P: (5, 6), Q: (0, 1)})
    killed = it.mark(P, 5)
    assert parse(5, killed) == Mark("trying", 5, 6, 0, 6)
    assert owner(5, killed).kills((P, 5)) == 0


def test_a_leave_in_the_middle_of_a_second_search_is_remembered() -> None:
    it = owner(5, str(Mark("trying", 5, 20, 0, 9)))
    it.take({P: (5, 6)})
    left = it.mark(P, 6, is_leaving=True)
    assert parse(6, left) == Mark("careful", 6, 20, 0, 9)
    assert owner(6, left).choose([(P, 6), (P, 7)], is_quiet=True) == ([0], [1])


def test_a_steady_load_waits_for_few_marks() -> None:
    it = Suspects(2048)
    it.assign({P: (0, None)})
    waits = 0
    for batch in range(100):
        due = it.take({P: (batch * 20, batch * 20 + 20)})
        waits += bool(due)
        text = it.mark(P, batch * 20)
        it.accepted(P, batch * 20, text)
    assert waits <= 2
    assert parse(1980, text).until <= 2000 + 4 * 20


def test_a_fast_load_in_bursts_waits_for_few_marks() -> None:
    """Windows between two commits, now of one partition and now of another."""
    it = Suspects(100)
    it.assign({P: (0, None), Q: (0, None)})
    position, waits = {P: 0, Q: 0}, 0
    for burst in range(40):
        partition = (P, Q)[burst % 2]
        for _ in range(5):
            first, end = position[partition], position[partition] + 100
            waits += bool(it.take({partition: (first, end)}))
            position[partition] = end
        text = it.mark(partition, position[partition])
        it.accepted(partition, position[partition], text)
    assert waits <= 10


def test_what_was_seen_to_come_is_marked_at_once_and_as_far_as_it_was_seen() -> None:
    it, others = Suspects(100), [("q", number) for number in range(1, 50)]
    it.assign(dict.fromkeys([P, *others], (0, None)))
    assert it.is_due({P: (0, 100)})
    due = it.take({P: (0, 100)}, {P: (100, 120), **dict.fromkeys(others, (0, 300))})
    assert due == dict.fromkeys([P, *others], 0)
    landed = it.marked(due)
    assert {parse(0, each.metadata).until for each in landed[1:]} == {300}
    it.have_landed(landed)
    assert not it.is_due({others[7]: (0, 300)})
    assert it.take({P: (100, 120), others[7]: (0, 100)}) == {}
    assert it.take({others[7]: (100, 300)}) == {}
    assert it.is_due({others[7]: (300, 301)})


def test_switched_off_it_writes_nothing_and_suspects_nobody() -> None:
    it = owner(5, str(Mark("alone", 5, 9, 7)), window=0)
    assert it.is_calm
    assert it.take({P: (5, 9)}) == {}
    assert it.mark(P, 9) == ""


def test_records_behind_a_gap_where_suspects_were_are_taken_as_usual_and_marked() -> None:
    it = owner(5, str(Mark("working", 5, 9)))
    it.take({P: (5, 6)})
    assert it.choose([(P, 20), (P, 21)], is_quiet=True) == ([0, 1], [])  # 6 to 19 are gone: compacted, or markers
    assert it.take({P: (20, 22)}) == {P: 5}
    assert parse(6, it.mark(P, 6)).kind == "working"
    assert it.is_calm


def test_a_group_that_has_committed_nothing_has_no_suspects() -> None:
    it = Suspects(WINDOW)
    assert it.assign({P: (-1001, None)}) == []
    assert it.is_calm
    assert it.leave([P]) == {}
