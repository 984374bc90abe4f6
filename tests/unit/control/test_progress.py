"""Who has followed an aspiration, who has not, and why."""

from __future__ import annotations

from pipeline.commands.versions.verdict import verdict
from pipeline.control.change import Outcome, Report
from pipeline.control.progress import Progress, Stage, progress
from pipeline.records import AspiredVersion, AspiredVersions, Error, ServableState, State, StreamState, WorkerState

NOW_MS = 100_000
FAILED = Error("load_failed", "broken", retriable=False)
RECORD = AspiredVersions("m", (AspiredVersion(2, "/m/2"),))


def worker(
    name: str,
    generation: int,
    *available: int,
    is_settled: bool = True,
    at_ms: int = NOW_MS,
    notes: tuple[str, ...] = (),
) -> WorkerState:
    stream = StreamState("m", generation, is_settled, available, {}, notes)
    return WorkerState(name, 0, at_ms, 5_000, (StreamState("other", 99, is_settled=True), stream))


def state(name: str, number: int, of: State, error: Error | None = None, **more: int) -> ServableState:
    return ServableState(name, "m", number, of, error, **more)


def one(worker: WorkerState, *states: ServableState, generation: int = 7) -> tuple[Stage, str]:
    [found] = progress(RECORD, generation, [worker], states, NOW_MS).workers
    return found.stage, found.reason


def test_a_worker_that_answers_with_every_version_is_done() -> None:
    assert one(worker("a", 7, 2)) == (Stage.DONE, "")
    assert one(worker("a", 8, 1, 2)) == (Stage.DONE, "")


def test_a_worker_that_has_not_heard_of_it_is_pending() -> None:
    assert one(worker("a", 6, 2)) == (Stage.PENDING, "still at generation 6")


def test_a_worker_that_is_loading_says_so_with_its_notes() -> None:
    loading = worker("a", 7, 1, is_settled=False, notes=("m/2 waits for memory",))
    assert one(loading, state("a", 2, State.LOADING)) == (
        Stage.PENDING,
        "version 2 is LOADING; m/2 waits for memory",
    )


def test_a_version_that_ended_is_a_failure_with_its_reason_before_the_stream_is_settled() -> None:
    failed = state("a", 2, State.END, FAILED, generation=7)
    assert one(worker("a", 7, 1), failed) == (Stage.FAILED, "load_failed: broken")
    assert one(worker("a", 7, 1, is_settled=False), failed) == (Stage.FAILED, "load_failed: broken")


def test_a_version_that_failed_long_ago_and_is_kept_so_is_a_failure() -> None:
    assert one(worker("a", 7, 1), state("a", 2, State.END, FAILED, generation=3))[0] is Stage.FAILED


def test_a_settled_worker_without_the_version_has_failed_even_where_no_row_says_why() -> None:
    assert one(worker("a", 7, 1)) == (Stage.FAILED, "version 2 is not available")
    short = worker("a", 7, 1, notes=("m/1 is fine", "m/2 waits for memory"))
    assert one(short) == (Stage.FAILED, "version 2 is not available; m/2 waits for memory")


def test_a_reload_that_failed_beside_the_old_content_is_a_failure_of_that_generation_only() -> None:
    rows = (
        state("a", 2, State.AVAILABLE, generation=6, incarnation=1),
        state("a", 2, State.END, FAILED, generation=7, incarnation=2),
    )
    assert one(worker("a", 7, 2), *rows) == (Stage.FAILED, "load_failed: broken")
    assert one(worker("a", 8, 2), *rows, generation=8) == (Stage.DONE, "")


def test_a_worker_that_vanished_is_named_and_not_waited_for() -> None:
    seen = progress(RECORD, 7, [worker("a", 3, at_ms=NOW_MS - 42_000), worker("b", 7, 2)], (), NOW_MS)
    assert seen.of(Stage.GONE)[0].reason == "not heard from for 42 s"
    assert seen.is_over


def test_a_worker_that_is_silent_but_not_gone_is_waited_for_and_said_to_be_silent() -> None:
    assert one(worker("a", 6, at_ms=NOW_MS - 12_000)) == (
        Stage.PENDING,
        "still at generation 6; not heard from for 12 s",
    )


def test_workers_of_other_streams_do_not_count() -> None:
    other = WorkerState("z", 0, NOW_MS, 5_000, (StreamState("other", 1),))
    assert progress(RECORD, 7, [other], (), NOW_MS) == Progress(())


def test_the_verdict_names_each_worker_that_did_not_follow_and_why() -> None:
    workers = [worker("a", 7, 2), worker("b", 6), worker("c", 7), worker("d", 1, at_ms=0)]
    seen = progress(RECORD, 7, workers, [state("c", 2, State.END, FAILED)], NOW_MS)
    report = Report(RECORD, 7, Outcome.TIMED_OUT, seen)
    assert verdict(report, 60) == (
        False,
        "m: not on every worker within 60 s: c (load_failed: broken); b (still at generation 6)",
    )
    assert "superseded by bob" in verdict(Report(RECORD, 7, Outcome.SUPERSEDED, seen, "bob"), 60)[1]
    done = progress(RECORD, 7, [workers[0], workers[3]], (), NOW_MS)
    assert verdict(Report(RECORD, 7, Outcome.DONE, done), 60) == (
        True,
        "m: 1 worker has followed; gone and not waited for: d (not heard from for 100 s)",
    )
    nobody = verdict(Report(RECORD, 7, Outcome.DONE, Progress(())), 60)
    assert nobody == (True, "m: no worker that serves it is alive; those that start will follow")
