"""One incarnation by itself: who may take a handle, when its load may begin, and what is left of it at the end."""

from __future__ import annotations

import pytest
from registry_fakes import FakeLoader

from pipeline.errors import LoadFailed
from pipeline.records import State
from pipeline.registry.harness import Harness
from pipeline.registry.policy import Phase
from pipeline.registry.servable import ServableId
from pipeline.registry.source import Aspired


@pytest.fixture
def harness():
    return Harness(Aspired(ServableId("m", 1), FakeLoader(), path="/m/1"))


def test_it_begins_new_aspired_and_without_a_servable(harness):
    assert (harness.phase, harness.state, harness.is_aspired) == (Phase.NEW, State.START, True)
    assert (harness.servable, harness.error, harness.incarnation) == (None, None, 1)
    assert harness.item.data is None


def test_a_load_may_begin_until_it_is_cancelled(harness):
    loader = harness.loader
    assert harness.begin_load() is loader
    assert not harness.cancel_load()
    harness.end_load()
    assert harness.cancel_load()
    assert harness.begin_load() is None


def test_cancelling_forgets_the_job_and_the_timer(harness):
    class Job:
        is_cancelled = False

        def cancel(self):
            self.is_cancelled = True

    calls = []
    harness.future, harness.cancel_timer = Job(), lambda: calls.append("timer")
    assert harness.cancel_load()
    assert (harness.future.is_cancelled, calls) == (True, ["timer"])


def test_handles_are_given_until_they_are_refused_and_the_last_one_back_is_told(harness):
    drained = []
    first, second = harness.take(), harness.take()
    harness.refuse_handles(lambda: drained.append("now"))
    assert harness.take() is None
    first.release()
    first.release()
    assert drained == []
    second.release()
    assert drained == ["now"]


def test_refusing_handles_that_nobody_holds_is_told_at_once(harness):
    harness.take().release()
    drained = []
    harness.refuse_handles(lambda: drained.append("now"))
    assert drained == ["now"]


def test_what_has_ended_holds_neither_loader_nor_servable(harness):
    harness.servable = object()
    harness.drop()
    assert (harness.loader, harness.servable, harness.future, harness.cancel_timer) == (None,) * 4


def test_it_says_where_it_stands_and_why(harness):
    assert harness.describe() == "1: START"
    harness.state, harness.error, harness.incarnation = State.END, LoadFailed("m/1", "no weights"), 2
    assert harness.describe() == "1: END (incarnation 2) (load_failed: m/1: no weights)"
