"""State that several servables share."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.registry.shared import Shared


def test_the_first_creates_and_the_last_destroys():
    made, destroyed = [], []
    shared = Shared(lambda: made.append("state") or f"state {len(made)}", destroyed.append)
    assert (shared.acquire(), shared.acquire()) == ("state 1", "state 1")
    shared.release()
    assert destroyed == []
    shared.release()
    assert destroyed == ["state 1"]
    assert shared.acquire() == "state 2"


def test_a_creation_that_fails_is_tried_again_by_the_next():
    outcomes = [OSError("busy"), "state"]

    def create():
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    shared = Shared(create)
    with pytest.raises(OSError, match="busy"):
        shared.acquire()
    assert shared.acquire() == "state"


def test_releasing_what_was_not_acquired_is_an_error():
    with pytest.raises(RuntimeError, match="more often"):
        Shared(list).release()


def test_many_at_once_create_one():
    made, start = [], threading.Barrier(8)
    shared = Shared(lambda: made.append(1))

    def use():
        start.wait(5)
        shared.acquire()

    with ThreadPoolExecutor(8) as users:
        for future in [users.submit(use) for _ in range(8)]:
            future.result()
    assert made == [1]
