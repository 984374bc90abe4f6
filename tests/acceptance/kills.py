"""Two workers under load, of which one at a time is killed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import pytest

from tests.acceptance.traffic import Traffic
from tests.acceptance.workers import Deployment, wait_for


def killed_in_turns(it: Deployment, names: Sequence[str], capsys: pytest.CaptureFixture[str]) -> Traffic:
    """Return what came of the requests that were sent meanwhile, when all are answered, or after a minute.

    The first two of ``names`` are the workers at the beginning, each of the others takes the place of one that is
    killed. What was lost and doubled is printed.
    """
    it.drop("factor", 1, {"factor": b"1"})
    it.watcher()
    workers = [it.worker(name).wait_until_ready() for name in names[:2]]
    with Traffic(it.bootstrap, it.settings.routes["factor"], per_s=500) as traffic:
        for kill, name in enumerate(names[2:]):
            seen = len(traffic.results)
            wait_for("answers between the kills", lambda seen=seen: len(traffic.results) > seen + 300)
            workers[kill % 2].kill()
            workers[kill % 2] = it.worker(name).wait_until_ready()
        traffic.finish(60)
        with capsys.disabled():
            sys.stdout.write(f"\n{len(names) - 2} kills, {len(traffic.sent)} requests: ")
            sys.stdout.write(f"{len(traffic.unanswered())} lost, {traffic.doubled()} doubled\n")
    return traffic
