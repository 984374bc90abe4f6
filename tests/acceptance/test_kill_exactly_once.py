"""kill -9 under load, exactly once: a reader of what is committed sees each answer once."""

from __future__ import annotations

import sys

import pytest

from tests.acceptance.conftest import Deploy
from tests.acceptance.traffic import Traffic
from tests.acceptance.workers import wait_for

KILLS = 3


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_request_is_answered_exactly_once_though_workers_are_killed(
    deploy: Deploy, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of two workers at a time. It comes back under its name, ends its open transaction and has its partitions."""
    it = deploy(routes={"factor": {"guarantee": "exactly_once"}}, worker={"static_membership": True})
    it.drop("factor", 1, {"factor": b"1"})
    it.watcher()
    workers = [it.worker(f"w{n}").wait_until_ready() for n in range(2)]
    with Traffic(it.bootstrap, it.settings.routes["factor"], per_s=500) as traffic:
        for kill in range(KILLS):
            seen = len(traffic.results)
            wait_for("answers between the kills", lambda seen=seen: len(traffic.results) > seen + 300)
            workers[kill % 2].kill()
            workers[kill % 2] = it.worker(f"w{kill % 2}").wait_until_ready()
        traffic.finish(60)
        with capsys.disabled():
            sys.stdout.write(f"\n{KILLS} kills, {len(traffic.sent)} requests, exactly once: ")
            sys.stdout.write(f"{len(traffic.unanswered())} lost, {traffic.doubled()} doubled\n")
        assert traffic.unanswered() == set()
        assert traffic.doubled() == 0
        assert traffic.errors() == []
