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


def test_a_worker_that_comes_late_and_fails_takes_nothing_from_the_others() -> None:
    states = (row("a", 2, State.AVAILABLE, at_ms=50), row("late", 2, State.END, FAILED))
    assert vetoes(Fleet(states, (worker("a"), worker("late", started_at_ms=60)))) == ()
    assert len(vetoes(Fleet(states, (worker("a"), worker("late", started_at_ms=40))))) == 1


def test_an_end_without_fault_vetoes_nothing() -> None:
    for code in ("load_cancelled", "worker_lost"):
        assert halts(Fleet((row("a", 2, State.END, Error(code, "", retriable=False)),), (worker("a"),))) == {}
    assert halts(Fleet((row("a", 2, State.END),), (worker("a"),))) == {}
