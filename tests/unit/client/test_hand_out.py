"""Results of a group come out in order, one of an id at a time, and are done when the caller comes back for more."""

from __future__ import annotations

from hypothesis import given, strategies as st

from pipeline.client.hand_out import HandOut, Read
from pipeline.records import PredictResult

ids = st.lists(st.sampled_from(["", "a", "b", "c"]), max_size=20)


def read(number, id_):
    return Read(id_, PredictResult(id_, "m", number), (0, number + 1))


@given(ids, st.lists(st.sampled_from([None, 1, 2]), max_size=30))
def test_nothing_is_lost_doubled_or_out_of_order(names, limits):
    hand_out = HandOut()
    hand_out.add(map(read, range(len(names)), names))
    given, done = [], []
    for limit in [*limits, *[1] * len(names)]:
        hand_out.settle()
        done += hand_out.done()
        assert done == [(0, number + 1) for number, _ in given]
        taken = hand_out.take(limit)
        assert limit is None or len(taken) <= limit
        given += [(outcome.version, id_) for id_, outcome in taken.items()]
    assert given == list(enumerate(names))
    assert hand_out.is_empty


def test_what_is_given_is_not_done_until_the_caller_comes_back():
    hand_out = HandOut()
    hand_out.add([read(0, "a"), read(1, "b")])
    assert list(hand_out.take()) == ["a", "b"]
    assert hand_out.done() == []
    hand_out.settle()
    assert hand_out.done() == [(0, 1), (0, 2)]
    assert hand_out.done() == []
