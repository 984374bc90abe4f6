"""The commands on a real Kafka."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from pipeline.clock import SystemClock
from pipeline.commands import main
from pipeline.control.aspired import AspiredPublisher
from pipeline.control.encoding import decode_aspired
from pipeline.control.kafka_logs import KafkaLogs
from pipeline.control.logs import read_all
from pipeline.control.states import StatePublisher
from pipeline.control.topic_admin import create_missing, describe
from pipeline.control.topics import TopicSpec
from pipeline.records import AspiredVersion, AspiredVersions, ServableState, State, StreamState, WorkerState
from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
DEADLINE_S = 20.0


class Place:
    """A working directory with a servable, a route and topics of its own."""

    def __init__(self, folder: Path, bootstrap: str, name: str) -> None:
        self.folder, self.bootstrap, self.name = folder, bootstrap, name
        self.kafka = {"bootstrap.servers": bootstrap}
        self.aspired, self.states = f"{name}.aspired", f"{name}.states"
        self.versions = folder / "models"
        self.versions.mkdir()
        (folder / "penstock.yaml").write_text(
            f"kafka: {{bootstrap.servers: '{bootstrap}'}}\n"
            f"control: {{aspired_topic: {self.aspired}, states_topic: {self.states}}}\n"
            "watch: {poll_interval_s: 0.05, quiet_period_s: 0.1}\n"
            f"servables: {{{name}: {{base_path: models, kind: lookup}}}}\n"
            f"routes: {{{name}: {{}}}}\n"
        )

    def run(self, *arguments: str) -> Result:
        return CliRunner().invoke(main, [*arguments, "-c", str(self.folder / "penstock.yaml")])

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
        return subprocess.Popen(
            [sys.executable, "-m", "pipeline.commands", *arguments],
            cwd=self.folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def drop(self, version: int, table: str) -> None:
        folder = self.versions / str(version)
        folder.mkdir()
        (folder / "table.csv").write_text(table)


@pytest.fixture
def place(tmp_path: Path, kafka: Any, topic_name: str, no_variables: None) -> Place:
    return Place(tmp_path, kafka.bootstrap, topic_name)


def ended(process: subprocess.Popen[str], number: int) -> tuple[int, str, str]:
    process.send_signal(number)
    out, errors = process.communicate(timeout=DEADLINE_S)
    return process.returncode, out, errors


def test_topics_are_missing_then_created_then_right(place: Place) -> None:
    before = place.run("topics", "--json")
    assert before.exit_code == 1
    assert [item["exists"] for item in json.loads(before.stdout)] == [False] * 5
    created = place.run("topics", "--create", "--partitions", "3", "--json")
    assert created.exit_code == 0, created.output
    assert {(item["created"], item["partitions"], item["cleanup"]) for item in json.loads(created.stdout)} == {
        (True, 3, "delete"),
        (True, 1, "compact"),
    }
    again = place.run("topics", "--create")
    assert again.exit_code == 0
    assert "created" not in again.stdout


def test_a_topic_that_is_wrong_stays_as_it_is_and_is_shown_with_its_remedy(place: Place) -> None:
    create_missing(place.kafka, [TopicSpec(place.aspired, 1, {"cleanup.policy": "delete"}, "wrong")])
    result = place.run("topics", "--create")
    assert result.exit_code == 1
    assert "next: penstock topics --alter" in result.stdout
    assert describe(place.kafka, [place.aspired])[place.aspired].config["cleanup.policy"] == "delete"


def set_topics(place: Place, **topics: dict[str, Any]) -> None:
    file = place.folder / "penstock.yaml"
    text = file.read_text().partition("topics: ")[0]
    file.write_text(f"{text}topics: {json.dumps({f'{place.name}.{kind}': of for kind, of in topics.items()})}\n")


def test_topics_are_created_as_the_settings_say_and_changed_only_when_asked(place: Place) -> None:
    set_topics(place, requests={"partitions": 2, "config": {"retention.ms": 7_200_000}})
    assert place.run("topics", "--create", "--partitions", "3", "--dry-run").exit_code == 1
    assert describe(place.kafka, [f"{place.name}.requests"]) == {}
    assert place.run("topics", "--create", "--partitions", "3").exit_code == 0
    names = [f"{place.name}.{kind}" for kind in ("requests", "results")]

    def shape() -> list[tuple[int, str]]:
        found = describe(place.kafka, names)
        return [(found[name].partitions, found[name].config["retention.ms"]) for name in names]

    week = str(7 * 24 * 3600 * 1000)
    assert shape() == [(2, "7200000"), (3, week)]
    set_topics(place, requests={"partitions": 5, "config": {"retention.ms": 3_600_000}})
    for harmless in (("--create",), ("--alter", "--dry-run")):
        result = place.run("topics", *harmless)
        assert result.exit_code == 1
        assert "5 are asked for" in result.stdout
        assert shape() == [(2, "7200000"), (3, week)]
    altered = place.run("topics", "--alter", "--json")
    assert altered.exit_code == 0, altered.output
    assert [item["changed"] for item in json.loads(altered.stdout)] == [True, False, False, False, False]
    wait_for("the topic has changed", lambda: shape()[0] == (5, "3600000"))
    notes = [f["reason"] for item in json.loads(place.run("topics", "--json").stdout) for f in item["findings"]]
    assert len(notes) == 1
    assert "answers to requests on the others lie by their key" in notes[0]
    assert place.run("topics", "--alter").exit_code == 0  # the step that the note names: results follow their requests
    wait_for("the results have grown too", lambda: shape() == [(5, "3600000"), (5, week)])
    assert place.run("topics", "--alter", "--partitions", "2").exit_code == 0
    assert shape() == [(5, "3600000"), (5, week)]  # never fewer


def test_check_finds_the_topics_missing_and_then_nothing(place: Place) -> None:
    place.drop(1, "a,1\n")
    before = place.run("check", "--json")
    assert before.exit_code == 1
    assert {item["next_step"] for item in json.loads(before.stdout) if item["status"] == "problem"} == {
        "penstock topics --create"
    }
    place.run("topics", "--create")
    after = place.run("check")
    assert after.exit_code == 0, after.output


def test_versions_of_a_topic_that_is_missing_says_what_to_do(place: Place, monkeypatch: Any) -> None:
    monkeypatch.setattr("pipeline.control.fleet.read_fleet.__defaults__", (1.0,))
    result = place.run("versions")
    assert result.exit_code == 1
    assert "penstock topics --create" in result.stderr


def test_versions_shows_what_workers_published(place: Place) -> None:
    place.run("topics", "--create")
    publisher = StatePublisher(KafkaLogs(place.kafka), place.states, "w-1", SystemClock())
    publisher.recovered([])
    publisher(ServableState("", "digits", 2, State.AVAILABLE, load_ms=31))
    assert publisher.beat(WorkerState("w-1", 1, time.time_ns() // 1_000_000, 60_000))
    assert publisher.flush(DEADLINE_S)
    result = place.run("versions", "digits")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[1].split()[:4] == ["digits", "2", "w-1", "AVAILABLE"]
    assert json.loads(place.run("versions", "--json").stdout)[0]["load_ms"] == 31
    for unknown in (("nobody",), ("digits/3",), ("show", "nobody", "--json"), ("workers", "nobody")):
        assert place.run("versions", *unknown).exit_code == 1, unknown


def test_pinning_publishes_one_record_though_no_worker_is_alive(place: Place) -> None:
    place.run("topics", "--create")
    for version in (1, 2):
        place.drop(version, f"a,{version}\n")
    place.run("watch", "--once")
    result = place.run("versions", "pin", place.name, "1")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"{place.name}: aspired to 1, pinned (generation 1)",
        f"{place.name}: no worker that serves it is alive; those that start will follow",
    ]
    ((key, value),) = read_all(KafkaLogs(place.kafka), place.aspired).items()
    record = decode_aspired(key, value)
    assert (record.pinned, [version.version for version in record.versions]) == (True, [1])
    assert record.versions[0].digest is not None
    assert "@" in record.publisher
    place.run("watch", "--once")
    assert read_all(KafkaLogs(place.kafka), place.aspired) == {key: value}


def test_a_change_without_waiting_says_what_was_published(place: Place) -> None:
    place.run("topics", "--create")
    place.drop(1, "a,1\n")
    result = place.run("versions", "promote", place.name, "1", "--no-wait", "--json")
    body = json.loads(result.stdout)
    assert (body["outcome"], body["generation"], body["record"]["labels"]) == ("published", 0, {"stable": 1})


def test_what_can_not_be_changed_is_one_line_and_publishes_nothing(place: Place) -> None:
    place.run("topics", "--create")
    place.drop(1, "a,1\n")
    for arguments, reason in (
        (("pin", place.name, "9"), "neither aspired nor reported"),
        (("rollback", place.name), "no version is aspired"),
        (("unpin", "other"), "no version is aspired"),
        (("unlabel", place.name, "stable"), "no such label"),
    ):
        result = place.run("versions", *arguments)
        assert (result.exit_code, result.stdout) == (1, "")
        assert reason in result.stderr
    assert read_all(KafkaLogs(place.kafka), place.aspired) == {}


def follow(place: Place, generation: int) -> StatePublisher:
    """A worker that has followed up to a generation, and goes no further."""
    publisher = StatePublisher(KafkaLogs(place.kafka), place.states, "w-1", SystemClock())
    publisher.recovered([])
    stream = StreamState(place.name, generation, is_settled=True)
    publisher.beat(WorkerState("w-1", 1, time.time_ns() // 1_000_000, 60_000, (stream,)))
    assert publisher.flush(DEADLINE_S)
    return publisher


def test_a_worker_that_does_not_follow_is_named_with_the_reason(place: Place) -> None:
    place.run("topics", "--create")
    place.drop(1, "a,1\n")
    follow(place, -1)
    result = place.run("versions", "pin", place.name, "1", "--timeout", "0.5")
    assert result.exit_code == 1
    assert "not on every worker within 0.5 s: w-1 (still at generation -1)" in result.stderr


def test_a_command_that_is_overtaken_says_by_whom(place: Place) -> None:
    place.run("topics", "--create")
    place.drop(1, "a,1\n")
    follow(place, -1)
    waiting = place.start("versions", "pin", place.name, "1")
    wait_for("the pin is published", lambda: read_all(KafkaLogs(place.kafka), place.aspired))
    publisher = AspiredPublisher(KafkaLogs(place.kafka), place.aspired, "bob@elsewhere")
    publisher.publish(AspiredVersions(place.name, (AspiredVersion(7, "/m/7"),)))
    publisher.close()
    _, errors = waiting.communicate(timeout=DEADLINE_S)
    assert waiting.returncode == 1
    assert "superseded by bob@elsewhere" in errors


def test_watch_once_publishes_what_is_there_and_ends(place: Place) -> None:
    place.run("topics", "--create")
    place.drop(1, "a,1\n")
    place.drop(2, "a,2\n")
    result = place.run("watch", "--once")
    assert result.exit_code == 0, result.output
    assert result.stdout == f"{place.name}: aspired to 2 (generation 0)\n"
    ((key, value),) = read_all(KafkaLogs(place.kafka), place.aspired).items()
    assert [version.version for version in decode_aspired(key, value).versions] == [2]


def test_watch_once_without_topics_is_one_line(place: Place) -> None:
    place.drop(1, "a,1\n")
    result = place.run("watch", "--once")
    assert result.exit_code == 1
    assert "penstock topics --create" in result.stderr


def test_a_request_is_answered_by_a_worker_and_a_new_version_rolls_out(place: Place) -> None:
    place.run("topics", "--create")
    place.drop(1, "a,1\n")
    worker = place.start("worker", "--without-web", "--watch", "--id", "w-1")
    try:
        wait_for("version 1 is available", lambda: '"AVAILABLE"' in place.run("versions", "--json").stdout)
        first = place.run("predict", place.name, '["a"]', "--json", "--timeout", "10")
        assert first.exit_code == 0, first.output
        assert (json.loads(first.stdout)["version"], json.loads(first.stdout)["outputs"]) == (1, {"value": ["1"]})
        place.drop(2, "a,2\n")

        def version_2_answers() -> bool:
            result = place.run("predict", place.name, '["a"]', "--json")
            return result.exit_code == 0 and json.loads(result.stdout)["version"] == 2

        wait_for("version 2 answers", version_2_answers)
        refused = place.run("predict", place.name, "[1]", "--json")
        assert refused.exit_code == 1
        assert "wrong_datatype" in refused.stderr
    finally:
        status, _, log = ended(worker, signal.SIGTERM)
    assert status == 0, log
    assert place.run("versions", "--json").stdout.strip() == "[]"  # all ended as wished


def test_watch_waits_for_topics_prints_each_set_and_ends_on_a_signal(place: Place) -> None:
    place.drop(1, "a,1\n")
    watcher = place.start("watch")
    try:
        assert watcher.stderr is not None
        assert "penstock topics --create; waiting" in watcher.stderr.readline()
        place.run("topics", "--create")
        assert watcher.stdout is not None
        assert watcher.stdout.readline() == f"{place.name}: aspired to 1 (generation 0)\n"
    finally:
        status, _, log = ended(watcher, signal.SIGINT)
    assert status == 0
    assert f"[WARNING] topic {place.aspired}: can be read again" in log
    assert all(re.match(r"\[\d{4}-\d\d-\d\d [\d:,]+\] \[\d+\] \[[A-Z]+\] ", line) for line in log.splitlines()), log


def test_kafka_prints_its_address_and_ends_on_a_signal(place: Place) -> None:
    process = place.start("kafka", "--port", "0")
    try:
        assert process.stdout is not None
        address = process.stdout.readline().strip()
        assert describe({"bootstrap.servers": address}, ["none"]) == {}
        taken = place.start("kafka", "--port", address.rpartition(":")[2])
        _, errors = taken.communicate(timeout=DEADLINE_S)
        assert (taken.returncode, "is in use; --port 0" in errors) == (1, True)
    finally:
        status, _, log = ended(process, signal.SIGTERM)
    assert status == 0, log
