"""What a swap does to the requests that are due while it goes on."""

from __future__ import annotations

import pytest

from benchmarks.avro_records import AvroRecord
from benchmarks.steady import seen as seen_by_load
from benchmarks.swaps import Latency, Seen, Swap, Window, by_version, going_on, latency, seen


def state(version, name, at_ms, stream="mlp"):
    return {"stream": stream, "version": version, "state": name, "at_ms": at_ms}


def test_a_request_belongs_to_the_window_in_which_it_was_due_whenever_it_was_answered():
    requests = [Seen(9.999, 1.0, 1), Seen(10.0, 500.0, 1), Seen(10.5, 3.0, 1), Seen(11.0, 1.0, 2)]
    assert latency(requests, Window(10.0, 11.0)) == Latency(2, 3.0, 500.0, 500.0)
    assert by_version(requests, Window(10.0, 11.5)) == {1: 2, 2: 1}


def test_a_window_without_requests_has_no_figures():
    with pytest.raises(ValueError, match=r"in the 2\.000 s"):
        latency([Seen(1.0, 1.0, 1)], Window(5.0, 7.0))


def test_a_swap_goes_on_from_the_aspiration_until_the_old_version_has_ended():
    states = [
        state(1, "AVAILABLE", 1_000),
        state(2, "START", 5_000),
        state(2, "LOADING", 5_001),
        state(2, "AVAILABLE", 8_000),
        state(1, "UNLOADING", 8_001),
        state(1, "END", 8_250),
        state(2, "END", 20_000),
        state(3, "START", 6_000, stream="another"),
    ]
    assert going_on(states, "mlp", 2) == Window(5.0, 8.25)


def test_the_swap_of_a_stream_without_an_older_version_ends_when_the_new_one_is_available():
    assert going_on([state(2, "START", 5_000), state(2, "AVAILABLE", 8_000)], "mlp", 2) == Window(5.0, 8.0)


def test_the_ratio_is_p99_during_to_p99_before():
    swap = Swap(
        before=Latency(100, 1.0, 4.0, 9.0),
        finding=Latency(100, 1.0, 5.0, 9.0),
        during=Latency(100, 1.0, 6.0, 9.0),
        after=Latency(100, 1.0, 4.0, 9.0),
        duration_s=3.0,
        answered_by={1: 100},
    )
    assert swap.ratio == 1.5


def test_requests_that_no_version_answered_are_left_to_the_account():
    load = {"due_s": [1.0, 2.0, 3.0], "took_ms": [5.0, None, 7.0], "versions": [1, None, None]}
    assert seen(load) == [Seen(1.0, 5.0, 1)]


class Message:
    def __init__(self, value):
        self._value = value

    def value(self):
        return self._value


def test_the_load_takes_the_first_answer_and_counts_from_the_moment_a_request_was_due():
    record = AvroRecord("PredictResult")

    def answer(number, version, at_s):
        datum = {"id": f"request-{number:09d}", "servable": "mlp", "version": version, "outputs": []}
        return at_s, Message(record.encode(datum))

    got = seen_by_load([10.0, 11.0, 12.0], [answer(2, 1, 12.5), answer(0, 1, 10.25), answer(0, 2, 13.0)])
    assert got == {"due_s": [10.0, 11.0, 12.0], "took_ms": [250.0, None, 500.0], "versions": [1, None, 1]}
