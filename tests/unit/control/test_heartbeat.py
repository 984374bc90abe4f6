"""Signs of life, step by step."""

from __future__ import annotations

from pipeline.control.fleet import is_vanished
from pipeline.control.heartbeat import Heartbeat
from pipeline.records import StreamState, WorkerState
from pipeline.testing.fakes import FakeClock


class Beating:
    def __init__(self) -> None:
        self.clock = FakeClock(1_000_000)
        self.states: dict[str, StreamState] = {}
        self.looks: list[str] = []
        self.signs: list[WorkerState] = []
        self.is_accepted = True
        self.heartbeat = Heartbeat("w", self._look, self._publish, self.clock, 5.0)

    def _look(self, stream: str) -> StreamState | None:
        self.looks.append(stream)
        return self.states.get(stream)

    def _publish(self, sign: WorkerState) -> bool:
        if self.is_accepted:
            self.signs.append(sign)
        return self.is_accepted

    def change(self, stream: str, generation: int, *, is_settled: bool = True) -> None:
        self.states[stream] = StreamState(stream, generation, is_settled)
        self.heartbeat.touch(stream)


def test_a_change_is_published_at_once_and_an_unchanged_state_at_the_interval() -> None:
    it = Beating()
    it.change("m", 1)
    assert it.heartbeat.step() == 5.0
    it.clock.advance(1)
    assert it.heartbeat.step() == 4.0
    assert len(it.signs) == 1
    it.clock.advance(4)
    it.heartbeat.step()
    assert [sign.at_ms for sign in it.signs] == [1_000_000, 1_005_000]
    it.change("m", 2)
    it.heartbeat.step()
    assert [sign.streams[0].generation for sign in it.signs] == [1, 1, 2]
    assert {(sign.worker, sign.started_at_ms, sign.interval_ms) for sign in it.signs} == {("w", 1_000_000, 5000)}


def test_a_stream_that_is_not_settled_is_looked_at_until_it_is_and_no_other_is() -> None:
    it = Beating()
    it.change("idle", 1)
    it.change("busy", 1, is_settled=False)
    assert it.heartbeat.step() < 1.0
    it.looks.clear()
    it.heartbeat.step()
    it.states["busy"] = StreamState("busy", 1, is_settled=True)
    assert it.heartbeat.step() > 1.0
    it.heartbeat.step()
    assert it.looks == ["busy", "busy"]
    assert it.signs[-1].streams == (it.states["busy"], it.states["idle"])


def test_a_sign_that_was_not_taken_is_tried_again_with_what_is_true_then() -> None:
    it = Beating()
    it.is_accepted = False
    it.change("m", 1)
    assert it.heartbeat.step() < 1.0
    it.change("m", 2)
    it.is_accepted = True
    it.heartbeat.step()
    assert [sign.streams[0].generation for sign in it.signs] == [2]


def test_a_stream_that_is_no_longer_served_is_left_out() -> None:
    it = Beating()
    it.change("m", 1)
    it.heartbeat.step()
    del it.states["m"]
    it.heartbeat.touch("m")
    it.heartbeat.step()
    assert it.signs[-1].streams == ()


def test_a_worker_is_gone_after_three_missed_signs() -> None:
    worker = WorkerState("w", 0, at_ms=1000, interval_ms=100)
    assert not is_vanished(worker, 1300)
    assert is_vanished(worker, 1301)
