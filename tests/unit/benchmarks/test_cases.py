"""Which cases there are, and what the command prints of them."""

from __future__ import annotations

import contextlib
import json

import pytest

from benchmarks import __main__ as command
from benchmarks.__main__ import CASES, main
from benchmarks.cases import peers
from tests.unit.benchmarks.test_report import a_report

PARTS = [case for parts in CASES.values() for case in parts]


@pytest.fixture
def ran(monkeypatch):
    """Return the names of the measurements that are made; each reports at once."""
    names = []

    def reporting(name):
        def run(harness, rounds, requests):
            names.append(name)
            return {**a_report(), "case": name}

        return run

    monkeypatch.setattr(command, "open_harness", lambda *_, **__: contextlib.nullcontext())
    for case in PARTS:
        monkeypatch.setattr(case, "run", reporting(case.NAME))
    return names


def test_the_cases_have_names_and_targets():
    targets = {
        "throughput": [1.0],
        "exactly-once": [0.7],
        "round-trip": [1.5],
        "swap": [2.0],
        "registry": [1.0],
        "servables": [0.97],
        "loads": [1.1],
        "memory": [1.05],
        "isolation": [1.15],
        "backlog": [600.0],
        "latency": [3.0],
        "burst": [1.0],
        "scaling": [1.7],
        "sizes": [1.0],
        "streams": [0.9],
        "start": [3.0],
        "redis": [1.0, 10.0],
        "peers": [1.0],
    }
    assert {name: [case.TARGET for case in parts] for name, parts in CASES.items()} == targets
    assert len({case.NAME for case in PARTS}) == len(PARTS), "the name of a report is that of its picture"


def test_the_case_redis_reports_answering_and_asking_one_object_a_line(ran, capsys):
    assert main(["redis", "--json"]) == 0
    assert ran == ["redis", "redis-enqueue"]
    assert [json.loads(line)["case"] for line in capsys.readouterr().out.splitlines()] == ran


def test_what_installs_its_rivals_is_left_out_unless_its_case_is_named(ran):
    assert main([]) == 0
    assert ran == [case.NAME for case in PARTS if case.NAME not in {"redis-enqueue", "peers"}]


@pytest.mark.usefixtures("ran")
def test_a_contender_that_has_failed_makes_the_exit_status_1(monkeypatch):
    monkeypatch.setattr(peers, "run", lambda *_: a_report(failures={"rival": "it hung"}))
    assert main(["peers"]) == 1


def test_an_unknown_case_is_refused_before_anything_starts(capsys):
    with pytest.raises(SystemExit) as ended:
        main(["no-such-case"])
    assert ended.value.code == 2
    assert "throughput" in capsys.readouterr().err
