"""The peers: what each is asked, and the environment it has."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmarks import accounting, backlog, environment
from benchmarks.backlog import Measured
from benchmarks.cases import peers, redis_enqueue
from benchmarks.cases.peers import OURS, PEERS, count_for
from benchmarks.place import Place
from benchmarks.process import BenchmarkError

CONTENDERS = Path(environment.__file__).parent / "contenders"
ENVIRONMENTS = sorted({peer.environment for peer in PEERS})
ALL_ENVIRONMENTS = sorted([*ENVIRONMENTS, redis_enqueue.ENVIRONMENT])


def test_every_folder_of_requirements_is_that_of_an_environment():
    assert sorted(folder.name for folder in environment.REQUIREMENTS.iterdir()) == ALL_ENVIRONMENTS


@pytest.mark.parametrize("name", ALL_ENVIRONMENTS)
def test_requirements_are_exact(name):
    assert environment.versions(name)
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in environment.versions(name).values())


def test_the_same_runtime_and_codec_work_for_all():
    for package in ("openvino", "numpy", "fastavro"):
        found = {environment.versions(name).get(package) for name in ENVIRONMENTS if name != "mlserver"}
        assert len(found) == 1, (package, found)
    assert environment.versions("mlserver")["openvino"] == environment.versions("hand_written")["openvino"]


@pytest.mark.parametrize("module", sorted({peer.module for peer in PEERS}))
def test_a_peer_imports_nothing_of_ours(module):
    tree = ast.parse((CONTENDERS / f"{module}.py").read_text())
    imported = {
        name.partition(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert not imported & {"pipeline", "connectors", "schemas"}


def test_slow_peers_get_fewer_requests_and_enough_to_count():
    counts = {peer.NAME: count_for(peer, 200_000) for peer in PEERS}
    assert counts["expert"] == count_for(OURS, 200_000) == 220_000
    assert counts["naive"] < counts["faust-event"] < counts["quix"] < counts["expert"]
    assert all(count_for(peer, 10) >= 100 for peer in PEERS)


def test_names_are_those_of_topics(tmp_path):
    for peer in PEERS:
        place = Place("127.0.0.1:1", tmp_path, tmp_path, f"bench-1-{peer.NAME}")
        assert re.fullmatch(r"[A-Za-z0-9._-]+", place.requests)
        assert peer.command(place)[0] == environment.python(peer.environment)


def test_an_environment_is_ready_for_the_requirements_it_was_finished_with_and_no_others(tmp_path):
    wanted = environment.stamp("numpy==2.4.6\n")
    assert not environment.is_ready(tmp_path, wanted), "it was interrupted"
    (tmp_path / ".ready").write_text(wanted)
    assert environment.is_ready(tmp_path, wanted)
    assert not environment.is_ready(tmp_path, environment.stamp("numpy==2.4.7\n"))
    assert wanted.startswith(f"{sys.version_info.major}.{sys.version_info.minor} ")


def test_what_has_a_target_is_compared_with_the_limit_of_its_wire(report_of):
    report, _ = report_of({})
    limits = {name: one["target"] for name, one in report["ratios"].items() if name.startswith("unread")}
    assert {"unread / faust-take", "unread / expert", "unread-v2-json / mlserver"} <= set(limits)
    assert "unread / mlserver" not in limits
    assert set(limits.values()) == {None}


@pytest.fixture
def report_of(monkeypatch):
    """Return the report of a run in which nothing is measured, and what ``failing`` names fails in its round."""

    def report(failing, not_installed=()):
        asked = []

        def measure(harness, one, asked_for):
            asked.append(one.NAME)
            if asked.count(one.NAME) == failing.get(one.NAME):
                raise BenchmarkError(f"{one.NAME} took more than 300 s\nits last line")
            return Measured(100.0, 1.0, 1.0, accounting.account(["a"], ["a"]), 1, 1)

        def set_up(name):
            if name in not_installed:
                raise BenchmarkError(f"pip can not install {name}")

        monkeypatch.setattr(backlog, "measure", measure)
        monkeypatch.setattr(backlog, "measure_groupless", measure)
        monkeypatch.setattr(environment, "set_up", set_up)
        return peers.run(SimpleNamespace(broker="none", cores="nobody"), 3, 1000), asked

    return report


def test_a_peer_that_dies_or_hangs_has_failed_and_the_others_go_on(report_of):
    report, asked = report_of({"faust-take": 2})
    assert report["failures"] == {"faust-take": "faust-take took more than 300 s\nits last line"}
    assert set(report["contenders"]) == {OURS.NAME, "penstock-v2-json", *(peer.NAME for peer in PEERS)} - {"faust-take"}
    assert report["ratios"]["penstock / faust-take"]["ratio"] is None
    assert report["ratios"]["penstock / quix"]["ratio"] == report["ratio"] == 1.0
    assert report["rounds"] == 3
    assert asked.count("faust-take") == 2, "it is not given another five minutes"
    assert asked.count("quix") == 3


def test_where_the_loop_by_hand_has_failed_there_is_no_ratio_to_another(report_of):
    report, _ = report_of({"expert": 1})
    assert (report["ratio"], report["reached"]) == (None, False)


def test_peers_that_can_not_be_installed_have_failed_and_the_others_go_on(report_of):
    report, asked = report_of({}, not_installed={"quix"})
    assert report["failures"] == dict.fromkeys(("quix", "quix-sink"), "pip can not install quix")
    assert not {"quix", "quix-sink"} & set(asked)
    assert "faststream" in report["contenders"]
