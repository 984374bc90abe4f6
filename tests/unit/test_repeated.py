"""What goes on beside a test ends with its block, and never hides that it has failed."""

from __future__ import annotations

import threading

import pytest

from pipeline.testing.repeated import repeated


def test_calls_go_on_beside_the_block_and_end_with_it():
    calls = threading.Semaphore(0)
    with repeated(calls.release):
        for _ in range(3):
            assert calls.acquire(timeout=20)
    while calls.acquire(blocking=False):
        pass
    assert not calls.acquire(timeout=0.05)


def test_what_a_call_raises_is_raised_at_the_end_of_the_block():
    called = threading.Event()

    def fail() -> None:
        called.set()
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"), repeated(fail):
        assert called.wait(20)


def test_what_the_block_raises_comes_first():
    def fail() -> None:
        raise ValueError("the thread's")

    with pytest.raises(KeyError, match="the block's"), repeated(fail):
        raise KeyError("the block's")
