"""Which contents the fleet has refused."""

from __future__ import annotations

from pipeline.control.fleet import Fleet
from pipeline.control.gate import halts, vetoes
from pipeline.records import Error, ServableState, State, WorkerState

FAILED = Error("load_failed", "broken", retriable=False)


def row(
    worker: str, version: int, state: State, error: Error | None = None, generation: int = 5, at_ms: int = 100
) -> ServableState:
    load_ms = None if error else 1
    path, digest = f"/m/{version}", f"sha256:{version}"
    return ServableState(
        worker, "m", version, state, error, generation, path=path, digest=digest, load_ms=load_ms, at_ms=at_ms
    )


def worker(name: str, started_at_ms: int = 1) -> WorkerState:
    return WorkerState(name, started_at_ms, at_ms=100, interval_ms=100)


def test_a_failure_on_one_worker_vetoes_the_content_and_names_what_served_before() -> None:
    fleet = Fleet(
        (
            row("a", 0, State.END, generation=3),  # gone long before
            row("a", 1, State.END, generation=5),  # ended because of version 2
            row("a", 2, State.AVAILABLE),
            row("b", 1, State.AVAILABLE, generation=4),
            row("b", 2, State.END, FAILED),
        ),
        (worker("a"), worker("b")),
    )
    assert [str(veto) for veto in vetoes(fleet)] == ["m/2 failed on b: load_failed: broken"]
    halt = halts(fleet)["m"]
    assert halt.vetoed == {(2, "sha256:2")}
    assert [it.version for it in halt.served_before] == [1]
    assert [it.version for it in halt.served_ever] == [0, 1]


def test_a_worker_that_can_serve_nothing_takes_nothing_from_the_others() -> None:
    served, failed = row("a", 2, State.AVAILABLE, at_ms=50), row("late", 2, State.END, FAILED)
    assert vetoes(Fleet((served, failed), (worker("a"), worker("late", started_at_ms=60)))) == ()
    assert vetoes(Fleet((served, failed), (worker("a"),))) == ()
    earlier = row("late", 1, State.END, at_ms=50)  # of an earlier life of that worker
    assert vetoes(Fleet((served, failed, earlier), (worker("a"), worker("late", started_at_ms=60)))) == ()
    assert vetoes(Fleet((served, failed, earlier), (worker("a"),))) == ()


def test_a_veto_outlives_restart_and_stop_of_the_worker_that_failed() -> None:
    failed, lost = row("b", 2, State.END, FAILED), Error("worker_lost", "", retriable=False)
    for state, error, at_ms in (
        (State.AVAILABLE, None, 50),  # it serves the version before
        (State.END, lost, 200),  # it was killed and comes back
        (State.START, None, 201),
        (State.END, None, 300),  # it has stopped in good order
    ):
        assert vetoes(Fleet((row("b", 1, state, error, at_ms=at_ms), failed), ())), state


def test_a_version_that_left_before_the_new_one_was_loaded_counts_as_served() -> None:
    states = (row("b", 1, State.END, at_ms=90), row("b", 2, State.END, FAILED))
    assert len(vetoes(Fleet(states, (worker("b", started_at_ms=10),)))) == 1


def test_an_end_without_fault_vetoes_nothing() -> None:
    for code in ("load_cancelled", "worker_lost"):
        assert halts(Fleet((row("a", 2, State.END, Error(code, "", retriable=False)),), (worker("a"),))) == {}
    assert halts(Fleet((row("a", 2, State.END),), (worker("a"),))) == {}
