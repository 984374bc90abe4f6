"""Two workers under a steady load: a good version goes live on both in seconds, a bad one changes only the states."""

from __future__ import annotations

import time

from pipeline.records import State
from tests.acceptance.conftest import Deploy
from tests.acceptance.traffic import Traffic
from tests.acceptance.workers import wait_for

WORKERS = ("one", "two")


def test_a_dropped_version_goes_live_on_every_worker_and_bad_ones_never_do(deploy: Deploy) -> None:
    """Every request of the run has exactly one answer and none is an error."""
    it = deploy()
    it.drop("factor", 1, {"factor": b"1"})
    it.watcher()
    workers = [it.worker(name) for name in WORKERS]
    for worker in workers:
        worker.wait_until_ready()
    with Traffic(it.bootstrap, it.settings.routes["factor"], per_s=500) as traffic:
        wait_for("answers by version 1", lambda: traffic.by_version()[1] > 500)
        dropped = time.time()
        it.drop("factor", 2, {"factor": b"2"})
        states = it.wait_for_state(WORKERS, "factor", 2, State.AVAILABLE)
        assert max(state.at_ms for state in states) / 1000 - dropped < 3
        assert len({state.generation for state in states}) == 1
        it.wait_for_state(WORKERS, "factor", 1, State.END)
        # Half copied: the directory is there, what the model needs is not; corrupt: it is there and is nonsense.
        it.drop("factor", 3, {"README": b"still copying"})
        it.drop("factor", 4, {"factor": b"not a number"})
        corrupt = it.wait_for_state(WORKERS, "factor", 4, State.END)
        assert all(state.error is not None and "not a number" in state.error.message for state in corrupt)
        before = traffic.by_version()[2]
        wait_for("more answers by version 2", lambda: traffic.by_version()[2] > before + 500)
        traffic.finish()
        assert traffic.unanswered() == set()
        assert traffic.doubled() == 0
        assert traffic.errors() == []
        assert set(traffic.by_version()) == {1, 2}
        first = traffic.first_answer_of(2)
        assert first is not None
        assert first - dropped < 3
    assert [worker.versions() for worker in workers] == [{"factor": [2]}] * 2
    assert all(worker.popen.poll() is None for worker in workers)


def test_a_half_copied_version_is_served_once_it_is_complete(deploy: Deploy) -> None:
    """It failed first; its content changed; it is tried again without a restart."""
    it = deploy()
    it.drop("factor", 1, {"factor": b"1"})
    worker = it.worker("one", "--watch").wait_until_ready()
    it.drop("factor", 2, {"README": b"still copying"})
    [state] = it.wait_for_state(["one"], "factor", 2, State.END)
    assert state.error is not None
    assert worker.versions() == {"factor": [1]}
    (it.models / "factor" / "2" / "factor").write_bytes(b"2")
    it.wait_for_state(["one"], "factor", 2, State.AVAILABLE)
    wait_for("version 1 gone", lambda: worker.versions() == {"factor": [2]})
