"""Loads give way to what answers requests, and the threads that they leave behind do not."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import ExitStack
from functools import partial

import pytest

from pipeline.registry.load_pool import LoadPool

TIMEOUT_S = 10.0
NICENESS = 3

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")


def niceness(thread=None):
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id() if thread is None else thread)


@pytest.fixture
def normal():
    return niceness(os.getpid())


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def a_pool(stack):
    def make(threads=1, lower_by=NICENESS):
        pool = LoadPool(threads, lower_by)
        stack.callback(pool.shutdown)
        return pool

    return make


class Left:
    """A thread that a load starts, and that lives until the test is over."""

    def __init__(self):
        self.began, self.end = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)

    def start(self):
        self._thread.start()
        assert self.began.wait(TIMEOUT_S)
        return niceness(self._thread.native_id)

    def niceness(self):
        return niceness(self._thread.native_id)

    def stop(self):
        self.end.set()
        self._thread.join(TIMEOUT_S)

    def _run(self):
        self.began.set()
        self.end.wait(TIMEOUT_S)


@pytest.fixture
def left(stack):
    left = Left()
    stack.callback(left.stop)
    return left


def may_raise_priority():
    """Whether a lowered thread of this process can get its priority back: root's can, another user's often not."""
    answers = []

    def probe():
        before = niceness()
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), before + 1)
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), before)
        except PermissionError:
            answers.append(False)
        else:
            answers.append(True)

    thread = threading.Thread(target=probe)
    thread.start()
    thread.join(TIMEOUT_S)
    return answers == [True]


@on_linux
def test_until_requests_are_answered_a_load_has_normal_priority(a_pool, normal):
    assert a_pool().submit(niceness).result(TIMEOUT_S) == normal


@on_linux
def test_from_then_on_a_load_gives_way_on_a_thread_that_has_loaded_before_too(a_pool, normal):
    pool = a_pool()
    pool.submit(niceness).result(TIMEOUT_S)
    pool.give_way()
    assert pool.submit(niceness).result(TIMEOUT_S) == normal + NICENESS
    assert pool.submit(niceness).result(TIMEOUT_S) == normal + NICENESS
    assert niceness(os.getpid()) == normal


@on_linux
def test_a_thread_that_a_load_starts_gives_way_until_the_load_is_over(a_pool, normal, left):
    pool = a_pool()
    pool.give_way()
    assert pool.submit(left.start).result(TIMEOUT_S) == normal + NICENESS
    pool.shutdown()
    assert left.niceness() == (normal if may_raise_priority() else normal + NICENESS)


@on_linux
def test_a_load_that_fails_leaves_no_lower_priority_behind_either(a_pool, normal, left):
    def fail():
        left.start()
        raise RuntimeError("no such model")

    pool = a_pool()
    pool.give_way()
    with pytest.raises(RuntimeError, match="no such model"):
        pool.submit(fail).result(TIMEOUT_S)
    pool.shutdown()
    assert left.niceness() == (normal if may_raise_priority() else normal + NICENESS)


@on_linux
def test_while_another_load_runs_nothing_gets_its_priority_back(a_pool, normal, left, stack):
    pool, goes_on = a_pool(threads=2), threading.Event()
    pool.give_way()
    began = threading.Event()

    def long_load():
        began.set()
        goes_on.wait(TIMEOUT_S)
        return niceness()

    long = pool.submit(long_load)
    stack.callback(goes_on.set)
    assert began.wait(TIMEOUT_S)
    pool.submit(left.start).result(TIMEOUT_S)
    assert pool.submit(niceness).result(TIMEOUT_S) == normal + NICENESS  # the short load before it is quite over
    assert left.niceness() == normal + NICENESS
    goes_on.set()
    assert long.result(TIMEOUT_S) == normal + NICENESS


@on_linux
def test_the_priority_is_that_of_the_process_lowered_once_and_never_below_the_lowest(a_pool):
    pool = a_pool(lower_by=19)
    pool.give_way()
    assert [pool.submit(niceness).result(TIMEOUT_S) for _ in range(3)] == [19, 19, 19]


def test_with_niceness_0_nothing_is_changed(a_pool, normal):
    pool = a_pool(lower_by=0)
    pool.give_way()
    assert pool.submit(niceness).result(TIMEOUT_S) == normal


def test_elsewhere_than_on_linux_nothing_is_changed(a_pool, normal, monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    pool = a_pool()
    pool.give_way()
    assert pool.submit(niceness).result(TIMEOUT_S) == normal


def test_a_system_that_permits_nothing_fails_no_load(a_pool, normal, monkeypatch):
    def refuse(*_):
        raise PermissionError("not permitted")

    monkeypatch.setattr(os, "setpriority", refuse)
    pool = a_pool()
    pool.give_way()
    assert pool.submit(niceness).result(TIMEOUT_S) == normal


def test_results_and_errors_pass_through(a_pool):
    pool = a_pool()
    pool.give_way()
    assert pool.submit(divmod, 7, 2).result(TIMEOUT_S) == (3, 1)
    assert pool.submit(partial(int, "11", base=2)).result(TIMEOUT_S) == 3
    assert isinstance(pool.submit(int, "x").exception(TIMEOUT_S), ValueError)
