"""A circuit opens when every batch fails, tries a few requests now and then, and closes when one is answered."""

from __future__ import annotations

from hypothesis import given, strategies as st

from pipeline.errors import CircuitOpen, ModelFailed, NotReady, PredictTimedOut, ServableDied, Undecodable
from pipeline.serving.circuit import PROBE_REQUESTS, Circuit, Standing, State
from pipeline.settings import CircuitSettings
from pipeline.testing.fakes import FakeClock

FAULTS = (
    ModelFailed("m", "raised"),
    ServableDied("m", "was killed", "it is started anew"),
    PredictTimedOut("m", 1, "."),
)
OTHERS = (Undecodable("no"), NotReady("m", ()))
RETRY_S = 10.0


class Rig:
    def __init__(self, after_batches: int = 3) -> None:
        self.clock = FakeClock()
        self.told: list[Standing] = []
        settings = CircuitSettings(after_batches=after_batches, retry_after_s=RETRY_S)
        self.circuit = Circuit(settings, self.clock, self.told.append)

    @property
    def state(self) -> State:
        return self.circuit.standing.state

    def fail(self, times: int = 1) -> None:
        for _ in range(times):
            self.circuit.note(5, [FAULTS[0]] * 5)

    def states_told(self) -> list[State]:
        return [standing.state for standing in self.told]


def test_it_opens_after_as_many_failed_batches_in_a_row_as_are_set():
    rig = Rig(3)
    rig.fail(2)
    rig.circuit.note(5, [FAULTS[0]] * 4)  # one was answered
    rig.fail(2)
    assert rig.circuit.admit(100) == 100
    rig.fail()
    assert rig.circuit.admit(100) == 0
    assert rig.told == [Standing(State.OPEN, 3, "model_error: m: raised")]


def test_errors_that_are_not_the_servers_fault_neither_open_nor_close_it():
    rig = Rig(2)
    for _ in range(9):
        rig.circuit.note(2, [*OTHERS])
    assert rig.state is State.CLOSED
    rig.fail(2)
    rig.circuit.note(2, [*OTHERS])
    assert rig.state is State.OPEN


def test_a_batch_of_faults_and_bad_requests_has_failed():
    rig = Rig(1)
    rig.circuit.note(3, [OTHERS[0], FAULTS[1], OTHERS[1]])
    assert rig.circuit.standing == Standing(State.OPEN, 1, f"servable_died: {FAULTS[1]}")


def test_one_small_batch_is_tried_at_a_time_and_decides():
    rig = Rig(1)
    rig.fail()
    rig.clock.advance(RETRY_S - 0.1)
    assert rig.circuit.admit(100) == 0
    rig.clock.advance(0.2)
    assert rig.circuit.admit(100) == PROBE_REQUESTS
    assert rig.circuit.admit(100) == 0
    rig.fail()
    assert rig.circuit.admit(100) == 0
    rig.clock.advance(RETRY_S)
    assert rig.circuit.admit(3) == 3
    rig.circuit.note(3, [])
    assert rig.circuit.admit(100) == 100
    assert rig.states_told() == [State.OPEN, State.HALF_OPEN, State.OPEN, State.HALF_OPEN, State.CLOSED]


def test_a_probe_that_found_no_request_or_none_that_could_be_computed_is_made_again_at_once():
    rig = Rig(1)
    rig.fail()
    rig.clock.advance(RETRY_S)
    assert rig.circuit.admit(100)
    rig.circuit.give_up()
    assert rig.circuit.admit(100)
    rig.circuit.note(1, [OTHERS[0]])
    assert rig.circuit.admit(100)
    assert rig.states_told() == [State.OPEN, State.HALF_OPEN]


def test_a_new_version_closes_it_at_once():
    rig = Rig(2)
    rig.fail(2)
    rig.circuit.close()
    assert rig.circuit.admit(100) == 100
    rig.fail()
    assert rig.state is State.CLOSED


def test_a_circuit_that_is_off_never_opens():
    rig = Rig(0)
    rig.fail(1000)
    assert (rig.circuit.admit(7), rig.told) == (7, [])


def test_what_is_set_aside_says_why():
    rig = Rig(1)
    rig.fail()
    error = rig.circuit.refusal("m")
    assert isinstance(error, CircuitOpen)
    assert (error.failed_batches, error.retriable) == (1, True)
    assert "raised" in str(error)


STEPS = st.lists(st.sampled_from(["good", "bad", "neither", "ask", "wait", "nothing", "version"]), max_size=60)


@given(steps=STEPS, after_batches=st.integers(1, 3))
def test_whatever_happens_it_admits_all_or_one_probe_or_nothing_and_never_stays_open_for_good(steps, after_batches):
    rig = Rig(after_batches)
    circuit, in_a_row, probing = rig.circuit, 0, False
    for step in steps:
        before = rig.state
        if step == "good":
            circuit.note(2, [FAULTS[0]])
            in_a_row, probing = 0, False
            assert rig.state is State.CLOSED
        elif step == "bad":
            circuit.note(2, [*FAULTS[:2]])
            in_a_row, probing = in_a_row + 1, False
            assert (rig.state is State.OPEN) == (in_a_row >= after_batches or before is not State.CLOSED)
        elif step == "neither":
            circuit.note(2, [*OTHERS])
            probing = False
            assert rig.state is before
        elif step == "ask":
            got = circuit.admit(100)
            if before is State.CLOSED:
                assert got == 100
            elif probing:
                assert got == 0
            else:
                assert got in (0, PROBE_REQUESTS)
            probing = probing or (got == PROBE_REQUESTS)
            is_closed = before is State.CLOSED  # by a new version, perhaps, while a probe was on its way
            assert (rig.state is State.HALF_OPEN) == (not is_closed and (probing or before is State.HALF_OPEN))
        elif step == "wait":
            rig.clock.advance(RETRY_S)
        elif step == "nothing":
            circuit.give_up()
            probing = False
        else:
            circuit.close()
            in_a_row = 0
            assert rig.state is State.CLOSED
    assert all(one is not two for one, two in zip(rig.states_told(), rig.states_told()[1:], strict=False))
    circuit.give_up()
    rig.clock.advance(RETRY_S)
    assert circuit.admit(100) in (PROBE_REQUESTS, 100)
    circuit.note(100, [])
    assert rig.state is State.CLOSED
