"""The clients that only ask: what Cluster Serving's is told and sends, and how many requests each has."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest

from benchmarks import enqueue, environment
from benchmarks.cases.redis_enqueue import ENVIRONMENT, RIVALS, count_for
from benchmarks.workload import PAIR
from tests.acceptance.cluster_serving import clients


class Theirs:
    """bigdl-serving's InputQueue as far as it is used here: it prints, and keeps what it is given."""

    def __init__(self, **arguments):
        print("redis group exist, will not create new one")  # noqa: T201  # as theirs does
        self.arguments, self.sent = arguments, []
        Theirs.made = self

    def enqueue(self, uri, **data):
        print("Write to Redis successful")  # noqa: T201  # likewise
        self.sent.append((uri, data))


@pytest.fixture
def theirs(monkeypatch):
    """The module of their client, in our environment."""
    module = ModuleType("bigdl.serving.client")
    module.InputQueue = Theirs
    for name in ("bigdl", "bigdl.serving"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)


def test_each_rival_is_a_kind_of_client():
    assert [rival.NAME for rival in RIVALS] == list(enqueue.KINDS)


@pytest.mark.usefixtures("theirs")
def test_their_client_sends_the_same_two_floats_and_prints_nothing_into_the_figure(capsys):
    send = enqueue.cluster_serving("redis://127.0.0.1:4711/0", "asked", 3)
    send()
    assert Theirs.made.arguments == {"host": "127.0.0.1", "port": "4711", "name": "asked"}
    assert [uri for uri, _ in Theirs.made.sent] == [f"request-{number:09d}" for number in range(3)]
    for (_, data), row in zip(Theirs.made.sent, PAIR.rows(), strict=False):
        assert data["x"].shape == (2,)
        assert data["x"].tobytes() == row.tobytes()
    assert capsys.readouterr().out == ""


def test_their_client_is_the_one_that_the_acceptance_tests_know():
    versions = environment.versions(ENVIRONMENT)
    known = dict(pin.split("==") for pin in (clients.BIGDL.requirement, *clients._PINS) if "==" in pin)
    assert {name: versions.get(name) for name in known} == known


def test_the_slow_client_gets_fewer_requests_and_at_least_one():
    counts = {rival.NAME: count_for(rival, 50_000) for rival in RIVALS}
    assert counts == {"penstock": 50_000, "cluster_serving": 5_000, "one_by_one": 50_000}
    assert all(count_for(rival, 1) == 1 for rival in RIVALS)
