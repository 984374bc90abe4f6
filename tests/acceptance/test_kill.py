"""kill -9 under load: nothing is lost, and what is doubled is counted."""

from __future__ import annotations

import pytest

from pipeline.records import State
from tests.acceptance.conftest import Deploy
from tests.acceptance.kills import killed_in_turns
from tests.acceptance.workers import wait_for

KILLS = 10


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_request_is_answered_though_workers_are_killed_ten_times_in_a_row(
    deploy: Deploy, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of two workers at a time; a new one takes its place. Duplicates are printed."""
    names = [f"w{number}" for number in range(KILLS + 2)]
    traffic = killed_in_turns(deploy(), names, capsys)
    assert traffic.unanswered() == set()
    assert traffic.errors() == []


def test_a_worker_that_comes_back_ends_the_rows_of_its_earlier_life(deploy: Deploy) -> None:
    """A killed worker can not say END; its successor of the same name does not let it seem to serve."""
    it = deploy()
    it.drop("factor", 1, {"factor": b"1"})
    watcher = it.watcher()
    worker = it.worker("one")
    it.wait_for_state(["one"], "factor", 1, State.AVAILABLE)
    worker.kill()
    (it.models / "factor" / "1").rename(it.models / "factor" / "2")
    wait_for("the aspiration to 2", lambda: "aspired to 2" in watcher.log)
    it.worker("one")
    it.wait_for_state(["one"], "factor", 2, State.AVAILABLE)
    [lost] = it.wait_for_state(["one"], "factor", 1, State.END)
    assert lost.error is not None
    assert lost.error.code == "worker_lost"
