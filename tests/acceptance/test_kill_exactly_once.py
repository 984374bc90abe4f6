"""kill -9 under load, exactly once: a reader of what is committed sees each answer once."""

from __future__ import annotations

import pytest

from tests.acceptance.conftest import Deploy
from tests.acceptance.kills import killed_in_turns

KILLS = 3


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_every_request_is_answered_exactly_once_though_workers_are_killed(
    deploy: Deploy, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of two workers at a time. It comes back under its name, ends its open transaction and has its partitions."""
    it = deploy(routes={"factor": {"guarantee": "exactly_once"}}, worker={"static_membership": True})
    names = [f"w{number % 2}" for number in range(KILLS + 2)]
    traffic = killed_in_turns(it, names, capsys)
    assert traffic.unanswered() == set()
    assert traffic.doubled() == 0
    assert traffic.errors() == []
