"""The lowest contiguous offset, whatever finishes first."""

from __future__ import annotations

from hypothesis import given, strategies as st

from connectors.kafka.offsets import OffsetTracker

P = ("q", 0)


def tracker() -> OffsetTracker:
    it = OffsetTracker()
    it.assign([P])
    return it


def test_nothing_is_committable_before_the_first_span_is_done() -> None:
    it = tracker()
    first, second = it.take({P: 10}), it.take({P: 20})
    it.finish(second)
    assert it.pop_committable() == {}
    it.finish(first)
    assert it.pop_committable() == {P: 20}
    assert it.pop_committable() == {}


def test_a_span_of_an_earlier_assignment_moves_nothing() -> None:
    it = tracker()
    old = it.take({P: 50})
    it.revoke([P])
    it.assign([P])
    new = it.take({P: 10})
    it.finish(old)
    assert it.pop_committable() == {}
    it.finish(new)
    assert it.pop_committable() == {P: 10}


def test_what_is_no_record_is_passed_over_when_the_records_before_it_are_done() -> None:
    """The end of a partition may lie behind markers of transactions and aborted records."""
    it = tracker()
    it.pass_over({P: 3})
    assert it.pop_committable() == {P: 3}
    taken = it.take({P: 10})
    it.pass_over({P: 12})
    assert it.pop_committable() == {}
    it.finish(taken)
    assert it.pop_committable() == {P: 12}


def test_an_end_that_was_taken_up_to_is_not_committed_again() -> None:
    it = tracker()
    it.finish(it.take({P: 10}))
    assert it.pop_committable() == {P: 10}
    it.pass_over({P: 10})
    assert it.pop_committable() == {}


def test_partitions_do_not_wait_for_each_other() -> None:
    it = OffsetTracker()
    it.assign([("q", 0), ("q", 1)])
    it.take({("q", 0): 5})
    it.finish(it.take({("q", 1): 7}))
    assert it.pop_committable() == {("q", 1): 7}
    assert it.in_flight([("q", 0), ("q", 1)]) == 1


def test_what_was_not_committed_after_all_is_handed_out_again() -> None:
    it = tracker()
    it.finish(it.take({P: 10}))
    assert it.pop_committable() == {P: 10}
    assert it.pop_committable() == {}
    assert it.committable() == it.committable([P]) == {P: 10}
    it.hand_back([P])
    assert it.pop_committable() == {P: 10}
    it.revoke([P])
    assert it.committable([P]) == {}


@given(st.permutations(range(8)))
def test_in_any_order_a_commit_never_passes_what_is_not_done(order: list[int]) -> None:
    it = tracker()
    spans = [it.take({P: end}) for end in range(1, 9)]
    done: set[int] = set()
    for place in order:
        it.finish(spans[place])
        done.add(place)
        lowest_open = next((n for n in range(8) if n not in done), 8)
        for offset in it.pop_committable().values():
            assert offset == lowest_open
    assert it.in_flight([P]) == 0


@given(st.lists(st.tuples(st.integers(1, 9), st.booleans()), min_size=1, max_size=20), st.data())
def test_gaps_between_what_is_polled_change_nothing(steps: list[tuple[int, bool]], data: st.DataObject) -> None:
    """Markers of transactions and compaction leave gaps, also right behind the first offset: none is a reason to wait,
    or to pass what is not done."""
    it, end = tracker(), 0
    spans, ends = [], []
    for size, has_gap in steps:
        end += size + 3 * has_gap
        spans.append(it.take({P: end}))
        ends.append(end)
    done: set[int] = set()
    committed = 0
    for place in data.draw(st.permutations(range(len(spans)))):
        it.finish(spans[place])
        done.add(place)
        committed = it.pop_committable().get(P, committed)
        contiguous = next((n for n in range(len(spans)) if n not in done), len(spans))
        assert committed == (ends[contiguous - 1] if contiguous else 0)


def test_what_is_live_is_neither_finished_nor_of_an_earlier_assignment() -> None:
    it = OffsetTracker()
    it.assign([("q", 0), ("q", 1)])
    taken = it.take({("q", 0): 5, ("q", 1): 7})
    assert it.live(taken) == taken
    it.revoke([("q", 0)])
    it.assign([("q", 0)])
    it.take({("q", 0): 5})
    assert [partition for partition, _ in it.live(taken)] == [("q", 1)]
    it.finish(taken)
    assert it.live(taken) == []
