"""Who was fenced is replaced, and nobody is told to end before being ready; processes are played by objects."""

from __future__ import annotations

import signal
from types import SimpleNamespace
from typing import cast

import pytest

from tests.acceptance.workers import Deployment
from tests.chaos.accounting import Guarantee
from tests.chaos.crew import Crew

FENCED = "the worker stops: ConnectorError: kafka transactions: fenced"


class Played:
    """A worker that is ready when asked a second time; told to end before, it dies of it, without a word."""

    def __init__(self, name: str) -> None:
        self.name, self.log = name, ""
        self.status: int | None = None
        self._asked = 0
        self.at_first_question = lambda: None
        self.popen = SimpleNamespace(poll=lambda: self.status)

    def get(self, path: str) -> tuple[int, str]:
        self._asked += 1
        if self._asked == 1:
            self.at_first_question()
        return (200 if self.status is None and self._asked > 1 else 0), ""

    def signal(self, number: signal.Signals) -> None:
        assert number is signal.SIGTERM
        if self.status is None:
            self.status = 0 if self._asked > 1 else -number

    def wait(self, timeout_s: float) -> int:
        assert self.status is not None
        return self.status

    def kill(self) -> None:
        self.status = -signal.SIGKILL

    def be_fenced(self) -> None:
        self.status, self.log = 1, FENCED


@pytest.fixture
def begun() -> list[Played]:
    return []


def crew_of(begun: list[Played], guarantee: Guarantee) -> Crew:
    def worker(name: str) -> Played:
        begun.append(Played(name))
        if len(begun) == 4:  # another than the first is waited for, when that one is fenced
            begun[3].at_first_question = begun[0].be_fenced
        return begun[-1]

    return Crew(cast(Deployment, SimpleNamespace(worker=worker)), guarantee)


@pytest.mark.parametrize("then", [lambda crew: crew.restart(0), lambda crew: crew.scale(0)])
def test_whoever_replaces_one_fenced_while_another_is_waited_for_is_waited_for_too(begun, then):
    crew = crew_of(begun, Guarantee.EXACTLY_ONCE)
    crew.scale(3)
    crew.kill(1)
    then(crew)
    assert [worker.name for worker in begun[:5]] == ["w0", "w1", "w2", "w1", "w0"]
    assert (crew.fenced, begun[4].status) == (1, 0)


def test_one_that_replaces_a_fenced_one_unseen_is_waited_for_before_the_end(begun):
    crew = crew_of(begun, Guarantee.EXACTLY_ONCE)
    crew.scale(2)
    begun[0].be_fenced()
    crew.tend()
    crew.scale(0)
    assert [worker.status for worker in begun] == [1, 0, 0]


def test_at_least_once_nobody_may_end_by_itself(begun):
    crew = crew_of(begun, Guarantee.AT_LEAST_ONCE)
    crew.scale(2)
    begun[1].be_fenced()
    with pytest.raises(AssertionError, match="w1 ended by itself"):
        crew.tend()
